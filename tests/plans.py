"""A plan for tests: small, on the CPU, nothing confirmed."""

from pathlib import Path
from typing import Any, TypeVar

from results.settings import StudySettings
from search.data import DataSource
from search.plan import Plan
from space import SearchSpace

Kind = TypeVar("Kind", bound=Plan)


def make_plan(kind: type[Kind], **changes: Any) -> Kind:
    """A plan of a kind, with what a test needs otherwise."""
    plain: dict[str, Any] = {
        "study": "test",
        "storage": "",
        "settings": StudySettings(
            dataset="mnist-sample", space=SearchSpace.for_budget(10_000), epochs=2, sustain=2
        ),
        "data": DataSource("mnist-sample"),
        "out": Path("runs"),
        "trials": 1,
        "seed": 0,
        "sampler": "random",
        "pruner": "none",
        "devices": ("cpu",),
        "workers": 1,
        "precision": "float32",
        "finalists": 0,
        "confirm_seeds": 0,
    }
    return kind(**{**plain, **changes})
