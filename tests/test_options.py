"""Options that commands share."""

from pathlib import Path

import pytest

from results.errors import NasSearchError
from search.options import report_folder


@pytest.mark.parametrize("study", ["../../escaped", "/absolute", "a/b", "..", "", "a\0b"])
def test_a_study_can_not_lead_a_report_elsewhere(tmp_path: Path, study: str) -> None:
    with pytest.raises(NasSearchError, match="name one for the report"):
        report_folder(tmp_path, study)


def test_a_report_goes_below_the_output_folder(tmp_path: Path) -> None:
    assert report_folder(tmp_path, "mnist-5000") == tmp_path / "reports" / "mnist-5000"
