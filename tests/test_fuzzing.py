"""The law that fuzz tests hold inputs to notices what breaks it."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from results.errors import NasSearchError
from tests.fuzzing import INPUTS, MOST_BYTES, TRAPS, Trap, answer_of, lawful


def test_inputs_are_counted_and_right_answers_handed_back() -> None:
    before = INPUTS["law"]
    assert answer_of("law", lambda: 7) == 7
    assert INPUTS["law"] == before + 1


def refuse(line: str) -> None:
    raise NasSearchError(line)


@pytest.mark.parametrize("line", ["", " ", "two\nlines", "long" * 1_000])
def test_a_line_that_is_none_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        answer_of("law", lambda: refuse(line))
    assert answer_of("law", lambda: refuse("one line")) is None


def test_memory_is_noticed_also_when_it_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzzing.MOST_SECONDS", 60)  # so much memory takes some machines long
    with pytest.raises(AssertionError, match="bytes"), lawful("law"):
        np.ones(MOST_BYTES + (1 << 28), np.uint8)
    with lawful("law"):
        np.ones(MOST_BYTES // 2, np.uint8)


def test_a_pickle_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"Path\.touch"), lawful("law"):
        pickle.loads(TRAPS[0])
    assert Trap.FILE.exists()


def test_time_and_warnings_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzzing.MOST_SECONDS", 0.01)
    with pytest.raises(AssertionError, match="seconds"), lawful("law"):
        sum(range(3_000_000))
    with pytest.raises(AssertionError, match="careful"), lawful("law"):
        warnings.warn("careful", stacklevel=1)
