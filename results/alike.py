"""Studies of a storage whose figures compare with those of one of them."""

from typing import TYPE_CHECKING, Literal

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


def alike(
    study: "optuna.Study", settings: StudySettings, about: Literal["search", "replay"]
) -> tuple[dict[str, list[TrialRecord]], list[str]]:
    """The records of studies about this that compare, by name, the oldest first.

    That is, of the same images and epochs, and searches of the same target. Also why others could
    not be read, a line each.
    """
    database = database_of(study)
    found, left_out = {}, []
    for each in sorted(database.get_all_studies(), key=lambda one: one._study_id):
        if SETTINGS_KEY not in each.user_attrs:
            continue
        name = each.study_name
        try:
            own = StudySettings.of(each.user_attrs[SETTINGS_KEY], name)
            if own.about != about or any(
                getattr(own, one) != getattr(settings, one) for one in _SAME[about]
            ):
                continue
            opened = with_ledger(load_study(database, name))
            refresh(opened)
            found[name] = records(opened)
        except NasSearchError as error:
            left_out.append(f"study {name} is left out: {error}")
    return found, left_out


def published_like(
    study: "optuna.Study", settings: StudySettings
) -> tuple[list[Replayed], list[str]]:
    """The published networks that were trained again, in their order.

    Also why studies of such could not be read, a line each.
    """
    replays, left_out = alike(study, settings, "replay")
    return replayed([trial for trials in replays.values() for trial in trials]), left_out
