"""The Pareto front: the trials that no smaller one is as accurate as."""

from collections.abc import Sequence

from results.record import TrialRecord
from results.selection import complete


def pareto_front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Complete trials that each have the highest sustained validation accuracy of their size or
    below, smallest first. Of trials with equal parameters and accuracy the first one."""
    front: list[TrialRecord] = []
    for record in sorted(
        complete(list(records)), key=lambda each: (each.params, -each.sustained, each.number)
    ):
        if not front or record.sustained > front[-1].sustained:
            front.append(record)
    return front
