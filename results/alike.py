"""Studies of a storage whose figures compare with those of one of them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.ledger import database_of, refresh, with_ledger
from results.record import TrialRecord, records
from results.replayed import Replayed, replayed
from results.settings import SETTINGS_KEY, StudySettings
from results.storage import load_study

if TYPE_CHECKING:
    import optuna

_SAME = {
    "search": ("dataset", "epochs", "sustain", "target"),
    "replay": ("dataset", "epochs", "sustain"),
}
"""What has to be the same, by what a study is about."""


@dataclass
class Alike:
    """`searches`: the records of each by its name, the oldest first. `left_out`: of studies that
    could not be read, why."""

    searches: dict[str, list[TrialRecord]] = field(default_factory=dict)
    replays: list[TrialRecord] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def published(self) -> list[Replayed]:
        """The published networks that were trained again, in their order."""
        return replayed(self.replays)


def alike(study: "optuna.Study", settings: StudySettings) -> Alike:
    """Searches, and published networks trained again, of the same images and epochs."""
    database = database_of(study)
    found = Alike()
    for each in sorted(database.get_all_studies(), key=lambda one: one._study_id):
        if SETTINGS_KEY not in each.user_attrs:
            continue
        name = each.study_name
        try:
            own = StudySettings.of(each.user_attrs[SETTINGS_KEY], name)
            if own.about not in _SAME or any(
                getattr(own, one) != getattr(settings, one) for one in _SAME[own.about]
            ):
                continue
            opened = with_ledger(load_study(database, name))
            refresh(opened)
            read = records(opened)
        except NasSearchError as error:
            found.left_out.append(f"study {name} is left out: {error}")
            continue
        if own.about == "search":
            found.searches[name] = read
        else:
            found.replays += read
    return found
