"""The report of a drill-down: what each step and each ingredient brought, and how sure that is."""

import datetime
import statistics
from collections import defaultdict
from collections.abc import Iterator

from results.charts.ladder import change, ladder_chart, rung_name, worth_chart
from results.difference import Difference, of_sustained, step, worths
from results.intervals import CONFIDENCE
from results.ladder import PLAIN, Ladder, Tried
from results.markdown import bullets, capital, count, mean_sd, table
from results.report.configuration import configuration_parts
from results.report.finalist import layers
from results.report.pictures import Pictures
from results.report.report import Report, made_with
from results.report.rung import ended, gaps, rung_parts, scatters, seconds, sustained_cell, widths
from results.settings import StudySettings
from results.splits import SPLITS
from space.ingredients import Ingredient, ingredients


def make_drilldown_report(
    title: str, ladder: Ladder, settings: StudySettings, made: datetime.datetime
) -> Report:
    """The report of a ladder as far as it is trained; `title`: of its configuration."""
    pictures = Pictures()
    heading = f"{title}: drill-down"
    answer = headline(ladder, settings)
    parts = [
        f"# {heading}",
        f"**{answer}**",
        missing(ladder),
        "## The configuration",
        *configuration_parts(ladder.configuration),
        _stays(ladder, settings),
        "## The ladder",
        *_overview(ladder, settings, pictures),
        *(part for place in range(len(ladder.rungs)) for part in _rung(ladder, place, settings)),
        "## What each ingredient is worth",
        *_worths(ladder, settings, pictures),
        made_with([run for each in ladder.every for run in each.runs], ()),
        f"Written by nas-search on {made:%Y-%m-%d at %H:%M} UTC.",
    ]
    text = "\n\n".join(each for each in parts if each) + "\n"
    return Report(heading, answer, text, pictures.made)


def _stays(ladder: Ladder, settings: StudySettings) -> str:
    """What the budget does not allow to be without; empty if nothing."""
    stays = [each for each in ingredients(ladder.configuration) if each not in ladder.ingredients]
    return "".join(
        f"{capital(each.words)} stays in every rung: without it even single channels have "
        f"{settings.max_params:,} parameters or more, which is over the budget."
        for each in stays
    )


def headline(ladder: Ladder, settings: StudySettings) -> str:
    """Which changes were enough, how sure that is, and what all bring, in some sentences."""
    if not ladder.rungs:
        return "No rung of the ladder is trained yet."
    so_far = "so far: " if ladder.missing else ""
    said = [
        capital(so_far + _enough(ladder)),
        _certain(ladder, settings),
        _whole(ladder, settings),
    ]
    return " ".join(each for each in said if each)


def _enough(ladder: Ladder) -> str:
    """The first rung within a standard error of the highest one: what comes later adds nothing
    that can be told from chance (the rule of Breiman et al., 1984, for the size of trees)."""
    rungs = ladder.rungs
    start = rungs[0].here.mean
    if len(rungs) == 1:
        return f"the plainest ancestor sustains {start:.2f}%."
    best = max((rung.here for rung in rungs), key=lambda each: each.mean)
    place = next(
        place
        for place, rung in enumerate(rungs)
        if rung.here.mean >= best.mean - best.standard_error
    )
    if place == 0:
        return (
            f"no change is more than a standard error better than the plainest ancestor, which "
            f"sustains {start:.2f}%."
        )
    words = _list([each.added.words for each in rungs[1 : place + 1] if each.added])
    last = len(rungs) - 1
    if last == 1:
        which = words
    elif place == last:
        which = f"all {last} changes ({words})"
    else:
        which = f"of {last} changes the first {'one' if place == 1 else place} ({words})"
    highest = (
        "within a standard error of the highest rung"
        if len(best.runs) > 1
        else "the highest of single runs"
    )
    verb = "brings" if place == 1 else "bring"
    return (
        f"{which} {verb} sustained accuracy from {start:.2f} to {rungs[place].here.mean:.2f}%, "
        f"{highest}."
    )


def _certain(ladder: Ladder, settings: StudySettings) -> str:
    """Which single gains are more than chance; empty without a change."""
    steps = {place: step(ladder, place, settings) for place in range(1, len(ladder.rungs))}
    if not steps:
        return ""
    if all(each.interval is None for each in steps.values()):
        return "Any of it may be chance."
    gains = {
        rung.added.words: steps[place].points
        for place, rung in enumerate(ladder.rungs)
        if rung.added and steps[place].is_clear and steps[place].points > 0
    }
    if not gains:
        return "No single gain is beyond chance."
    named = _list([f"{words} ({points:+.2f} points)" for words, points in gains.items()])
    which = "itself is the gain" if len(gains) == 1 else "themselves are the gains"
    return f"Beyond chance by {which} of {named}."


def _whole(ladder: Ladder, settings: StudySettings) -> str:
    """What the last rung sustains, and whether it holds the target."""
    if len(ladder.rungs) == 1 or ladder.rungs[-1].added is None:
        return ""
    last = ladder.rungs[-1].here
    holding = sum(each >= settings.target for each in last.sustained)
    what = "These rungs end" if _is_on_its_way(ladder) else "The whole ends"
    return (
        f"{what} at {last.mean:.2f}% with {last.params:,} parameters; {holding} of "
        f"{count(len(last.runs), 'seed')} held {settings.target:g}%.{_higher(ladder, settings)}"
    )


def _is_on_its_way(ladder: Ladder) -> bool:
    """Some rungs are not trained yet."""
    return len(ladder.rungs) <= len(ladder.ingredients)


def _higher(ladder: Ladder, settings: StudySettings) -> str:
    """That a rung is clearly better than the last one; empty if none is."""
    last, higher = ladder.rungs[-1].here, ladder.rungs[:-1]
    clear = [
        (place, rung.here)
        for place, rung in enumerate(higher, 1)
        if rung.here.mean > last.mean
        and of_sustained(ladder, rung.here, last, settings, len(higher)).is_clear
    ]
    if not clear:
        return ""
    place, best = max(clear, key=lambda each: each[1].mean)
    return f" Rung {place} is better than the last one: it sustains {best.mean:.2f}%."


def missing(ladder: Ladder) -> str:
    """What is to be trained next; empty if the drill-down is complete."""
    if not ladder.missing:
        return ""
    seeds: dict[str, list[str]] = defaultdict(list)
    for each in ladder.missing:
        seeds[each.name].append(str(each.seed))
    named = [f"{_words(ladder, name)} (seed {', '.join(own)})" for name, own in seeds.items()]
    return (
        f"Not finished: {count(len(ladder.missing), 'training')} of the next step "
        f"{'is' if len(ladder.missing) == 1 else 'are'} missing: {'; '.join(named)}. The same "
        f"`nas-search drilldown` command goes on from here."
    )


def _words(ladder: Ladder, name: str) -> str:
    """What a configuration has more, or less, than the last rung."""
    if name == PLAIN and not ladder.rungs:
        return "the plainest ancestor"
    words = {each.name: each.words for each in ladder.ingredients}
    names = frozenset() if name == PLAIN else frozenset(name.split("+"))
    here = ladder.rungs[-1].here.names
    added, removed = names - here, here - names
    return ", ".join(
        [*(f"+ {words[each]}" for each in added), *(f"without {words[each]}" for each in removed)]
    )


def _overview(ladder: Ladder, settings: StudySettings, pictures: Pictures) -> list[str]:
    if not ladder.rungs:
        return ["There is nothing to show yet."]
    return [
        _ladder_table(ladder, settings),
        pictures.chart("ladder", ladder_chart(ladder, settings)),
        _course_table(ladder, settings),
        bullets([*protocol(ladder, settings), *evidence(ladder)]),
    ]


def note(title: str, ladder: Ladder, settings: StudySettings) -> str:
    """What the dashboard says of the study: how far the ladder has come."""
    parts = [f"**The ladder to {title}**", headline(ladder, settings), missing(ladder)]
    if ladder.rungs:
        parts.insert(2, _ladder_table(ladder, settings))
    return "\n\n".join(each for each in parts if each)


def _ladder_table(ladder: Ladder, settings: StudySettings) -> str:
    rows = [
        (
            str(place + 1),
            change(rung),
            f"{rung.here.params:,}",
            mean_sd(rung.here.sustained),
            step(ladder, place, settings).cell if place else "",
        )
        for place, rung in enumerate(ladder.rungs)
    ]
    return table(("rung", "change", "parameters", "sustained %", "effect, points"), rows)


def _course_table(ladder: Ladder, settings: StudySettings) -> str:
    """How the trainings went; a rung where all diverged has no such figures."""
    rows = [
        (
            str(place),
            change(rung),
            f"{statistics.mean(gaps(rung.here)):+z.2f}",
            f"{statistics.mean(scatters(rung.here, settings)):.2f}",
            f"{seconds(rung.here):.3g}",
        )
        if ended(rung.here)
        else (str(place), change(rung), "", "", "")
        for place, rung in enumerate(ladder.rungs, 1)
    ]
    return table(("rung", "change", "gap, points", "scatter, points", "seconds"), rows)


def protocol(ladder: Ladder, settings: StudySettings) -> list[str]:
    """How the numbers are made, and what their names mean, in sentences."""
    split, seeds = SPLITS[settings.dataset], len(ladder.rungs[0].here.runs)
    last = "the last epoch" if settings.sustain == 1 else f"the last {settings.sustain} epochs"
    return [
        f"Every network was trained on {split.training - split.validation:,} images of "
        f"{settings.dataset} for {count(settings.epochs, 'epoch')} and measured on "
        f"{split.validation:,} others (validation), from {count(seeds, 'seed')}"
        f"{', the same for all' if seeds > 1 else ''}. The test images were not used.",
        f"*Sustained*: the lowest accuracy of {last}"
        f"{', mean ± standard deviation over seeds' if seeds > 1 else ''}. *Gap*: training minus "
        f"validation accuracy in the last epoch (training images are counted in its course, so it "
        f"can be below 0); *scatter*: the highest minus the lowest "
        f"accuracy of {last}; both in points, the mean over seeds. *Seconds*: of one training, the "
        f"median.",
    ]


def evidence(ladder: Ladder) -> list[str]:
    """How sure effects are, and how changes were chosen, in sentences."""
    several = len(ladder.rungs[0].here.runs) > 1
    sure = (
        f"*Effect*: the difference to the rung before, with a {CONFIDENCE:.0%} interval over seeds "
        f"(Welch's). How much seeds scatter is taken from the rungs compared and, as far as they "
        f"are alike in that, from all that was trained here (Smyth's moderated variances). The "
        f"interval holds for all that was tried at its step at once (Bonferroni), and not for all "
        f"steps at once. Seeds are not paired: the same seed starts different networks differently."
        if several
        else "*Effect*: the difference to the rung before. A single run tells no scatter: there "
        "are no intervals, and any difference may be chance. `--seeds` asks for more runs."
    )
    tie = (
        " What is within one standard error of it is a tie, which fewer parameters win, then "
        "fewer multiply-accumulates."
    )
    return [
        sure,
        "At each step the change with the highest sustained accuracy was added, also where all of "
        "them lower it: the ladder ends at the configuration." + (tie if several else ""),
        "Changes were chosen by the same validation images that they are measured on: the gains of "
        "what was added first are slightly optimistic.",
    ]


def _rung(ladder: Ladder, place: int, settings: StudySettings) -> list[str]:
    rung = ladder.rungs[place]
    parts = [f"## Rung {rung_name(place + 1, rung)}", *rung_parts(ladder, place, settings)]
    if place in (0, len(ladder.rungs) - 1):
        parts += ["### Layers", layers(rung.here.runs[0].configuration.architecture)]
    return parts


def _worths(ladder: Ladder, settings: StudySettings, pictures: Pictures) -> list[str]:
    found = worths(ladder, settings)
    if not found:
        return [
            "It follows when the ladder is trained: each ingredient is then taken out by itself."
            if ladder.missing
            else "The configuration has no ingredient that could be taken out."
        ]
    whole = ladder.rungs[-1].here
    rows = [
        (each.words, f"{without.params:,}", sustained_cell(without), effect.cell)
        for each, without, effect in found
    ]
    header = ("without", "parameters", "sustained %", "effect, points")
    at_once = (
        f" The intervals hold for all {len(found)} at once."
        if len(found) > 1 and found[0][2].interval is not None
        else ""
    )
    refitted = [each.words for each, without, _ in found if widths(without) != widths(whole)]
    return [
        f"Each ingredient taken out of the whole configuration by itself, which sustains "
        f"{mean_sd(whole.sustained)}% with {count(whole.params, 'parameter')}. *Effect*: what the "
        f"whole has more.{at_once} What an ingredient brings depends on what else is there: it can "
        f"be worth more here than on the ladder, or less.",
        table(header, rows),
        pictures.chart("worth", worth_chart(ladder, settings)),
        bullets(
            [
                *_judged(whole, found),
                f"The layers got other widths without {_list(refitted)}, to fit the parameter "
                f"budget: that effect is of both."
                if refitted
                else "",
            ]
        ),
    ]


def _judged(whole: Tried, found: list[tuple[Ingredient, Tried, Difference]]) -> Iterator[str]:
    """Sentences: what helps, what harms, what has no measurable effect."""
    if all(effect.interval is None for _, _, effect in found):
        yield (
            "One run tells no scatter: which of these differences are effects of the ingredient "
            "can't be said."
        )
        return
    for each, without, effect in found:
        if effect.is_clear:
            yield (
                f"Without {each.words} the whole sustains {without.mean:.2f} instead of "
                f"{whole.mean:.2f}%: it is worth {effect.points:+.2f} points ({effect.evidence})."
                f"{_broke_down(without)}"
            )
    unclear = [each.words for each, _, effect in found if not effect.is_clear]
    if unclear:
        yield (
            f"No measurable effect in the whole configuration: {_list(unclear)} (the intervals "
            f"include 0). An effect smaller than the intervals can't be ruled out."
        )


def _broke_down(without: Tried) -> str:
    """That trainings did, in a sentence; empty if none did."""
    broken = sum(each.diverged for each in without.runs)
    if not broken:
        return ""
    return (
        f" {broken} of {count(len(without.runs), 'training')} without it diverged: it is what the "
        f"rest can't be trained without, and more than that the figure does not say."
    )


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
