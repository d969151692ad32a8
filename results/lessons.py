"""What a search begins with: trials of earlier ones, kept with the study that learns from them.

Considered: reading the earlier studies whenever a configuration is drawn. Then what is drawn would
depend on what happens to them, and a study could not go on without them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from results.errors import NasSearchError, changed
from results.ledger import refresh, with_ledger
from results.record import records
from results.settings import StudySettings
from results.storage import load_study, settings_of
from space import Value
from space.value import one_line

if TYPE_CHECKING:
    import optuna

_KEY = "nas-search:lessons"
"""The system attribute of the study that holds them: dashboards show user attributes."""


class Lesson(Value):
    """A trial of another search: what it drew, and its accuracy in percent after each epoch.

    0 after the one in which it diverged, if it did. `complete`: it was trained to its end.
    """

    study: str
    drawn: dict[str, Any]
    accuracies: tuple[float, ...]
    complete: bool


_LESSONS = TypeAdapter(tuple[Lesson, ...])


def lessons_from(
    storage: "optuna.storages.RDBStorage", names: Sequence[str], settings: StudySettings
) -> tuple[Lesson, ...]:
    """The trained trials of these studies.

    Raises NasSearchError if there is no such study, or its trials say nothing about those of a
    study with these settings.
    """
    found: list[Lesson] = []
    for name in names:
        study = load_study(storage, name)
        theirs = settings_of(study)
        if theirs.about != "search":
            raise NasSearchError(f"--learn-from {name}: it is no search but a {theirs.about}")
        for what in ("dataset", "epochs", "sustain"):
            have, want = getattr(theirs, what), getattr(settings, what)
            if have != want:
                raise NasSearchError(
                    f"--learn-from {name}: it was made with --{what} {have}, not {want}, so its "
                    f"trials can't be compared"
                )
        if theirs.space.dimensions.keys() != settings.space.dimensions.keys():
            raise NasSearchError(
                f"--learn-from {name}: it was made by a version with another search space"
            )
        study = with_ledger(study)
        refresh(study)
        trained = [each for each in records(study) if each.was_trained]
        if not trained:
            raise NasSearchError(f"--learn-from {name}: no trial of it is trained yet")
        found += [
            Lesson(
                study=name,
                drawn=each.parameters,
                accuracies=tuple(epoch.accuracy for epoch in each.history),
                complete=each.state == "complete",
            )
            for each in trained
        ]
    return tuple(found)


def keep_lessons(study: "optuna.Study", lessons: tuple[Lesson, ...]) -> None:
    """With a study, when it is made."""
    kept = _LESSONS.dump_python(lessons, mode="json")
    study._storage.set_study_system_attr(study._study_id, _KEY, kept)


def lessons_of(study: "optuna.Study") -> tuple[Lesson, ...]:
    """Those that a study was made with."""
    kept = study._storage.get_study_system_attrs(study._study_id)
    try:
        return _LESSONS.validate_python(kept.get(_KEY, ()))
    except ValidationError as error:
        raise changed(f"the lessons of study {study.study_name}", one_line(error)) from None
