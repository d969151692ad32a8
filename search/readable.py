"""Makes the dashboard's pages readable: plots in an order, attributes that people can read.

optuna-dashboard has no setting for either. So the one function that makes a page's content from a
study is replaced, in this process: what is stored stays as it is, also where the dashboard copies
it (it renames a study by copying it).
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from results.publish import PLOTS
from results.record import TIMING_KEY
from results.settings import SETTINGS_KEY
from results.whereabouts import KEPT_IN

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

_OF_TRIALS = {
    "architecture",
    "recipe",
    "history",
    "versions",
    "worker",
    "crew",
    "checkpoint",
    KEPT_IN,
}
"""What programs read, and people find as pictures and tables: each row would be a page long."""

_OF_STUDIES = (SETTINGS_KEY, f"{TIMING_KEY}:", "confirmation:", "confirming:")
"""What begins so is in the note and the plots."""


def make_readable() -> None:
    """From now on, of every study this process serves."""
    from optuna_dashboard import _app, _serializer

    readable = _readable(_serializer.serialize_study_detail)
    setattr(_app, "serialize_study_detail", readable)  # noqa: B010


def _readable(serialize: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def readable(
        study: "FrozenStudy",
        best_trials: "list[FrozenTrial]",
        trials: "list[FrozenTrial]",
        intersection: Any,
        union: Any,
        attributes: list[tuple[str, bool]],
        has_intermediate_values: bool,
        plots: dict[str, str],
        skipped: list[int],
    ) -> dict[str, Any]:
        return serialize(
            _without(study, lambda key: key.startswith(_OF_STUDIES)),
            [_without(trial, _OF_TRIALS.__contains__) for trial in best_trials],
            [_without(trial, _OF_TRIALS.__contains__) for trial in trials],
            intersection,
            union,
            [each for each in attributes if each[0] not in _OF_TRIALS],
            has_intermediate_values,
            _in_order(plots),
            skipped,
        )

    return readable


def _without(whole: Any, unreadable: Callable[[str], bool]) -> Any:
    short = copy.copy(whole)
    short.user_attrs = {
        key: value for key, value in whole.user_attrs.items() if not unreadable(key)
    }
    return short


def _in_order(plots: dict[str, str]) -> dict[str, str]:
    """By id in the order of `PLOTS`, others behind; they come in another order in each process."""
    places = {name: place for place, name in enumerate(PLOTS)}
    return dict(sorted(plots.items(), key=lambda each: (places.get(each[0], len(PLOTS)), each[0])))
