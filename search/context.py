"""What a training has at hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from results.artifacts import contents_of
from results.store import Store
from results.whereabouts import store_of
from search.data import Digits
from search.drawing import Drawing
from search.events import Event
from search.lane import Lane
from search.places import Places
from search.plan import Plan, Precision
from search.register import Register

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Context:
    """The plan and its study, the digits on the device, and whom to tell what happens.

    All but the lane is shared by the trainings of a process.
    """

    plan: Plan
    study: "optuna.Study"
    register: Register
    digits: Digits
    device: str
    lane: Lane
    precision: Precision
    tell: Callable[[Event], None]
    draw: Drawing = contents_of
    places: Places = field(default_factory=Places)

    @property
    def store(self) -> Store:
        """Where the files of the study lie. Raises NasSearchError."""
        return store_of(self.study, self.plan.out, self.plan.artifacts)
