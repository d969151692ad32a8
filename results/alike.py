"""Studies of the same storage whose figures compare with those of another study."""

from typing import TYPE_CHECKING

from results.ledger import database_of, refresh, with_ledger
from results.record import TrialRecord, records
from results.replayed import Replayed, replayed
from results.settings import SETTINGS_KEY, ProtocolName, StudySettings
from results.storage import load_study

if TYPE_CHECKING:
    import optuna


def searches_like(study: "optuna.Study", settings: StudySettings) -> dict[str, list[TrialRecord]]:
    """The records of all searches like these settings by their name. Raises NasSearchError."""
    return {
        name: found
        for name, own, found in _alike(study, settings, "search")
        if own.trials == "drawn"
    }


def replays_like(study: "optuna.Study", settings: StudySettings) -> list[Replayed]:
    """Published networks that were trained again, in their order. Raises NasSearchError."""
    return replayed(
        [each for _, _, found in _alike(study, settings, "published") for each in found]
    )


def _alike(
    study: "optuna.Study", settings: StudySettings, protocol: ProtocolName
) -> list[tuple[str, StudySettings, list[TrialRecord]]]:
    """Name, settings and records of those of the same images and epochs, the oldest first."""
    database = database_of(study)
    alike = []
    for each in sorted(database.get_all_studies(), key=lambda one: one._study_id):
        if SETTINGS_KEY not in each.user_attrs:
            continue
        own = StudySettings.of(each.user_attrs[SETTINGS_KEY], each.study_name)
        same = all(
            getattr(own, name) == getattr(settings, name)
            for name in ("dataset", "epochs", "sustain")
        )
        if same and own.protocol == protocol:
            opened = with_ledger(load_study(database, each.study_name))
            refresh(opened)
            alike.append((each.study_name, own, records(opened)))
    return alike
