"""Trials as a pandas table."""

import json
from typing import TYPE_CHECKING

from results.record import TrialRecord

if TYPE_CHECKING:
    import pandas as pd


def trials_frame(records: list[TrialRecord]) -> "pd.DataFrame":
    """One row a trial, a column a parameter (`param_...`) and attribute; nested ones as JSON."""
    import pandas as pd

    rows = [
        {
            "trial": record.number,
            "state": record.state,
            "value": record.value,
            **{name: _flat(value) for name, value in record.attributes.items()},
            **{f"param_{name}": value for name, value in record.parameters.items()},
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial", "state", "value"])


def _flat(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value
