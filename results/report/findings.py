"""What the report is written from: the study, and what follows from it, worked out once."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from results import selection
from results.effects import Effects, estimate_effects
from results.front import pareto_front
from results.record import Confirmation, TrialRecord
from results.report.digits import TestDigits
from results.settings import StudySettings
from results.splits import SPLITS, Split


def smallest_first(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The order in which a report names trials, where it is not that of a ranking."""
    return sorted(records, key=lambda each: (each.params, each.number))


@dataclass(frozen=True)
class Findings:
    """`runs` are the confirmations by trial; `test` the test images, None if not at hand."""

    study: str
    settings: StudySettings
    records: list[TrialRecord]
    runs: dict[int, list[Confirmation]]
    test: TestDigits | None = None

    @cached_property
    def split(self) -> Split:
        return SPLITS[self.settings.dataset]

    @cached_property
    def complete(self) -> list[TrialRecord]:
        return selection.complete(self.records)

    @cached_property
    def trained(self) -> list[TrialRecord]:
        """Complete and pruned trials, in the order of their numbers."""
        return [each for each in self.records if each.was_trained]

    @cached_property
    def best(self) -> TrialRecord | None:
        return selection.most_accurate(self.records)

    @cached_property
    def smallest(self) -> TrialRecord | None:
        return selection.smallest_holding(self.records, self.settings.target)

    @cached_property
    def smallest_confirmed(self) -> TrialRecord | None:
        return selection.smallest_confirmed(self.records, self.runs, self.settings.target)

    @cached_property
    def finalists(self) -> list[TrialRecord]:
        """The confirmed trials, smallest first; while there are none, who would be."""
        confirmed = [self.records[number] for number in self.runs]
        count = selection.FINALISTS[self.settings.objective]
        return smallest_first(confirmed or selection.finalists(self.records, self.settings, count))

    @cached_property
    def front(self) -> list[TrialRecord]:
        return pareto_front(self.records)

    @cached_property
    def effects(self) -> Effects:
        return estimate_effects(self.records, self.settings)
