"""A value: frozen, validated, written and read as JSON, identified by its content."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Value(BaseModel):
    """Base of every description in this project. Two equal values have the same `id`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null"
    )

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical description.

        Fields at their default are left out, so that a field added later, whose default means
        "as before", leaves the ids of existing values as they were.
        """
        described = self.model_dump(mode="json", exclude_defaults=True)
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """One line of JSON with every field, defaults included."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Reads what `to_json` wrote. Raises ValueError with a one-line reason."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"not a valid {cls.__name__}: {one_line(error)}") from None


MOST_TOLD = 500
"""Characters of what is wrong: a file can hold any number of faults, of any length."""


def one_line(error: Exception) -> str:
    """What is wrong: of pydantic's faults what and where, of others the first line."""
    if isinstance(error, ValidationError):
        told = " ".join("; ".join(map(_describe, error.errors(include_url=False))).split())
    else:
        told = (str(error).splitlines() or [type(error).__name__])[0]
    return told if len(told) <= MOST_TOLD else f"{told[:MOST_TOLD]} ..."


def _describe(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
