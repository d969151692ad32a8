"""Trials as a table: one row a trial, a column a parameter (`param_...`) and attribute."""

import json
from typing import TYPE_CHECKING, Any

from results.record import TrialRecord

if TYPE_CHECKING:
    import pandas as pd


def trials_frame(records: list[TrialRecord]) -> "pd.DataFrame":
    """As a pandas table; whole numbers stay whole, nested attributes are JSON."""
    import pandas as pd

    rows = [{name: _flat(value) for name, value in row.items()} for row in _rows(records)]
    return pd.DataFrame(rows, columns=_columns(rows)).convert_dtypes()


def trials_json(records: list[TrialRecord]) -> str:
    """As a JSON list of objects with the same keys; every number with all its digits."""
    rows = _rows(records)
    columns = _columns(rows)
    return json.dumps([{name: row.get(name) for name in columns} for row in rows], indent=2)


def _rows(records: list[TrialRecord]) -> list[dict[str, Any]]:
    return [
        {
            "trial": record.number,
            "state": record.state,
            "value": record.value,
            **record.attributes,
            **{f"param_{name}": value for name, value in record.parameters.items()},
        }
        for record in records
    ]


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(("trial", "state", "value", *(name for row in rows for name in row))))


def _flat(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value
