"""A rung of a drill-down in the form of a write-up: target, results, analysis."""

import statistics

from results.difference import Difference, difference, of_sustained, step
from results.ladder import Ladder, Rung, Tried
from results.markdown import bullets, capital, count, mean_sd, table
from results.record import Given, TrialRecord
from results.report.fit import counted_differently
from results.settings import StudySettings
from space import Conv


def rung_parts(ladder: Ladder, place: int, settings: StudySettings) -> list[str]:
    """The rung at `place` (0 is the plainest ancestor), without its heading, as paragraphs."""
    rung = ladder.rungs[place]
    return [
        f"**Target.** {_target(ladder, place, settings)}",
        "**Results.**",
        bullets(_results(rung.here, settings)),
        _runs_table(rung.here, settings),
        *_tried_here(ladder, place, settings),
        "**Analysis.**",
        bullets(_analysis(ladder, place, settings)),
    ]


def ended(tried: Tried) -> list[TrialRecord]:
    """The runs that did not diverge: those that have last epochs."""
    return [run for run in tried.runs if not run.diverged]


def gaps(tried: Tried) -> list[float]:
    """Training minus validation accuracy in the last epoch of each such run, in points."""
    return [float(run.attributes["gap"]) for run in ended(tried)]


def scatters(tried: Tried, settings: StudySettings) -> list[float]:
    """Highest minus lowest accuracy of the last epochs of each such run, in points."""
    last = [_last(run, settings) for run in ended(tried)]
    return [max(each) - min(each) for each in last]


def seconds(tried: Tried) -> float:
    """Of one training with its measurements: the median of those runs."""
    return statistics.median(float(run.attributes["seconds"]) for run in ended(tried))


def _last(run: TrialRecord, settings: StudySettings) -> list[float]:
    return [each.accuracy for each in run.history[-settings.sustain :]]


def _target(ladder: Ladder, place: int, settings: StudySettings) -> str:
    last = "the last" if settings.sustain == 1 else f"each of the last {settings.sustain}"
    goal = (
        f"{settings.target:g}% of the validation images right after {last} of "
        f"{count(settings.epochs, 'epoch')}, with fewer than {settings.max_params:,} parameters"
    )
    if place == 0:
        return f"See what the plainest ancestor of the configuration sustains. In the end: {goal}."
    before = ladder.rungs[place - 1].here.mean
    already = "" if before < settings.target else ", which is reached already"
    return (
        f"Raise the sustained accuracy from {before:.2f}%; the target is {settings.target:g}%"
        f"{already}."
    )


def _results(here: Tried, settings: StudySettings) -> list[str]:
    history = [epoch for run in here.runs for epoch in run.history]
    holding = sum(each >= settings.target for each in here.sustained)
    return [
        f"**{count(here.params, 'parameter')}**, {here.macs:,} multiply-accumulates for one image.",
        f"Best training accuracy {max(each.train_accuracy for each in history):.2f}%, best "
        f"validation accuracy {max(each.accuracy for each in history):.2f}% "
        f"({count(len(here.runs), 'seed')}, any epoch).",
        f"Sustained accuracy {mean_sd(here.sustained)}%; {holding} of "
        f"{count(len(here.runs), 'seed')} held {settings.target:g}%.",
    ]


def _runs_table(here: Tried, settings: StudySettings) -> str:
    rows = [
        (
            _seed(run),
            f"{max(each.train_accuracy for each in run.history):.2f}",
            f"{max(each.accuracy for each in run.history):.2f}",
            " ".join(f"{each:.2f}" for each in _last(run, settings)),
            f"{run.sustained:.2f}",
        )
        for run in here.runs
    ]
    last = f"last {count(settings.sustain, 'epoch')}, validation %"
    header = ("seed", "best training %", "best validation %", last, "sustained %")
    return table(header, rows)


def _seed(run: TrialRecord) -> str:
    given = Given.of(run.attributes)
    seed = str(given.seed) if given else ""
    return f"{seed}, diverged in epoch {len(run.history)}" if run.diverged else seed


def _tried_here(ladder: Ladder, place: int, settings: StudySettings) -> list[str]:
    """What could have been added at the rung, the best first; nothing at the first rung."""
    rung = ladder.rungs[place]
    if rung.added is None:
        return []
    before, comparisons = ladder.rungs[place - 1].here, 1 + len(rung.others)
    tried = [(f"{rung.added.words} (added)", rung.here)]
    tried += [(each.words, other) for each, other in rung.others]
    rows = [
        (
            words,
            f"{each.params:,}",
            sustained_cell(each),
            of_sustained(ladder, each, before, settings, comparisons).cell,
        )
        for words, each in sorted(tried, key=lambda row: -row[1].mean)
    ]
    return [
        "Tried at this step:",
        table(("change", "parameters", "sustained %", "effect, points"), rows),
    ]


def _analysis(ladder: Ladder, place: int, settings: StudySettings) -> list[str]:
    rung = ladder.rungs[place]
    before = ladder.rungs[place - 1] if place else None
    said = [
        _accuracy(ladder, place, settings),
        _tie(rung),
        _widths(rung, before),
        _rate(rung, before),
        _diverged(rung.here),
        _learned_nothing(rung.here),
        _params(rung, before),
    ]
    if not ended(rung.here):
        return said
    if before is not None and not ended(before.here):
        before = None
    return [
        *said,
        _gap(rung, before, settings),
        _stability(rung, before, settings),
        _time(rung, before),
    ]


def _accuracy(ladder: Ladder, place: int, settings: StudySettings) -> str:
    rung = ladder.rungs[place]
    if rung.added is None:
        short = settings.target - rung.here.mean
        where = f"{short:.2f} points below" if short > 0 else f"{-short:.2f} points above"
        return (
            f"Its mean sustained accuracy is {where} the target: this is where the ladder begins."
        )
    effect, before = step(ladder, place, settings), ladder.rungs[place - 1].here
    return effect_words(rung.added.words, effect, (before.mean, rung.here.mean))


def effect_words(words: str, effect: Difference, means: tuple[float, float]) -> str:
    """Whether something has an effect on sustained accuracy, with the means without and with it."""
    change = f"{effect.points:+z.2f} points, from {means[0]:.2f} to {means[1]:.2f}%"
    name = capital(words)
    if effect.interval is None:
        return (
            f"{name} changed sustained accuracy by {change}. One run of each tells no scatter: "
            f"this may be chance."
        )
    if not effect.is_clear:
        return (
            f"{name} has no measurable effect on sustained accuracy: {change}; {effect.evidence}, "
            f"which includes 0. It may be chance, or an effect that takes more seeds to be sure of."
        )
    verb = "raised" if effect.points > 0 else "lowered"
    return f"{name} {verb} sustained accuracy: {change}; {effect.evidence}."


def _tie(rung: Rung) -> str:
    """That another one had a higher mean, and why it was not taken. Empty if none had."""
    higher = [(each, other) for each, other in rung.others if other.mean > rung.here.mean]
    if rung.added is None or not higher:
        return ""
    best, other = max(higher, key=lambda row: row[1].mean)
    return (
        f"A tie, decided by cost: {best.words} had a higher mean ({other.mean:.3f} against "
        f"{rung.here.mean:.3f}%), by no more than its standard error ({other.standard_error:.3f}). "
        f"Of what is tied the cheapest is taken: here {rung.here.params:,} parameters and "
        f"{rung.here.macs:,} multiply-accumulates, there {other.params:,} and {other.macs:,}."
    )


def _widths(rung: Rung, before: Rung | None) -> str:
    """That layers have other widths than before. Empty if they have not."""
    if before is None or widths(rung.here) == widths(before.here):
        return ""
    there, here = ("-".join(map(str, widths(each.here))) for each in (before, rung))
    return (
        f"The layers got other widths with it ({there} before, {here} now), as each rung has to "
        f"fit the parameter budget: the effect is that of both."
    )


def _rate(rung: Rung, before: Rung | None) -> str:
    """That the highest learning rate is another than before. Empty if it is not."""
    if before is None:
        return ""
    here, there = (each.here.runs[0].configuration.recipe.learning_rate for each in (rung, before))
    if here == there:
        return ""
    return (
        f"The highest learning rate rose with it from {there:g} to {here:g}, which a schedule "
        f"begins below or comes down from: the effect is that of both."
    )


def widths(tried: Tried) -> list[int]:
    """Channels of the convolutions, from the image on."""
    layers = tried.runs[0].configuration.architecture.layers
    return [each.width for each in layers if isinstance(each, Conv)]


def sustained_cell(tried: Tried) -> str:
    """Mean and standard deviation for a table, and how many runs broke down or learned nothing."""
    broken, idle = _broken(tried), _idle(tried)
    notes = [f"{broken} diverged" if broken else "", f"{idle} learned nothing" if idle else ""]
    noted = ", ".join(each for each in notes if each)
    return mean_sd(tried.sustained) + (f" ({noted})" if noted else "")


def _broken(tried: Tried) -> int:
    return sum(run.diverged for run in tried.runs)


def _idle(tried: Tried) -> int:
    return sum(max(each.accuracy for each in run.history) < IDLE for run in ended(tried))


def _diverged(here: Tried) -> str:
    broken = _broken(here)
    if not broken:
        return ""
    return (
        f"{broken} of {count(len(here.runs), 'training')} diverged (the loss was no number any "
        f"more): what counts of them is the accuracy of the epochs until then. Gap, last epochs "
        f"and time leave them out."
    )


IDLE = 15.0
"""Percent. A training that is never better has learned nothing: guessing gives 10, and calling
everything a one 11.4."""


def _learned_nothing(here: Tried) -> str:
    idle = _idle(here)
    if not idle:
        return ""
    return (
        f"{idle} of {count(len(here.runs), 'training')} learned nothing: never more than "
        f"{IDLE:g}% right, where guessing gives 10%. What a change does to such a start says "
        f"little about what it does to one that learns."
    )


def _params(rung: Rung, before: Rung | None) -> str:
    if before is None:
        return ""
    now, then = rung.here.params, before.here.params
    if now == then:
        return f"Parameters stay at {now:,}."
    return f"Parameters go from {then:,} to {now:,} ({now - then:+,})."


def _gap(rung: Rung, before: Rung | None, settings: StudySettings) -> str:
    own = gaps(rung.here)
    said = (
        f"Training minus validation accuracy in the last epoch: "
        f"{statistics.mean(own):+z.2f} points on average"
    )
    if before is not None:
        said += f", {statistics.mean(gaps(before.here)):+z.2f} a rung before"
        said += _change(difference(own, gaps(before.here), settings))
    differently = counted_differently(rung.here.runs[0])
    if differently:
        said += f". Training images were counted {differently}, which lowers their accuracy"
    return f"{said}."


def _stability(rung: Rung, before: Rung | None, settings: StudySettings) -> str:
    """How steady the last epochs are; empty if a single one counts."""
    if settings.sustain < 2:
        return ""
    own = scatters(rung.here, settings)
    said = (
        f"Over the last {count(settings.sustain, 'epoch')} validation accuracy varied by "
        f"{statistics.mean(own):.2f} points on average"
    )
    if before is not None:
        earlier = scatters(before.here, settings)
        said += f", by {statistics.mean(earlier):.2f} a rung before"
        said += _change(difference(own, earlier, settings))
    return f"{said}."


def _change(found: Difference) -> str:
    """How sure a change is, in brackets; empty where that can't be said."""
    if found.interval is None:
        return ""
    unclear = "" if found.is_clear else ", no measurable change"
    return f" (a change of {found.points:+z.2f}, {found.evidence}{unclear})"


def _time(rung: Rung, before: Rung | None) -> str:
    earlier = f"; {seconds(before.here):.3g} a rung before" if before else ""
    return (
        f"A training took {seconds(rung.here):.3g} seconds (median{earlier}): a rough figure, as "
        f"other work on the machine slows it."
    )
