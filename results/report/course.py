"""How the search went: sentences about pruning, draws and the way to the best."""

from results.markdown import count
from results.report.findings import Findings
from results.selection import merit


def pruning(found: Findings) -> str:
    """What stopping trials early saved. Empty if none was."""
    stopped = [each for each in found.records if each.was_stopped]
    if not stopped:
        return ""
    epochs = found.settings.epochs
    skipped = sum(epochs - each.attributes["epochs_run"] for each in stopped)
    seconds = sum(
        (epochs - each.attributes["epochs_run"])
        * each.attributes["seconds"]
        / each.attributes["epochs_run"]
        for each in stopped
    )
    whole = epochs * len(found.trained)
    return (
        f"{_were(len(stopped), 'trial')} stopped early, of {len(found.trained):,} trained. That "
        f"saved {skipped:,} of {whole:,} epochs ({100 * skipped / whole:.0f}%), about "
        f"{_duration(seconds)} of training at the seconds per epoch of the same trials. What it "
        f"cost is unknown: a trial that was stopped might have become the best."
        + _gone_on_with(
            sum(each.state == "promoted" and each.promoted_from is None for each in found.records)
        )
    )


def _gone_on_with(number: int) -> str:
    if not number:
        return ""
    those = "Another one" if number == 1 else f"{number:,} others"
    return (
        f" {those} {'was' if number == 1 else 'were'} stopped and gone on with later, when more "
        f"had been tried."
    )


def unused_draws(found: Findings) -> str:
    """Draws that trained nothing to its end for other reasons than pruning. Empty if none."""
    states = [each.state for each in found.records if each.promoted_from is None]
    drawn = sum(state not in ("waiting", "cut off") for state in states)
    diverged = sum(each.diverged for each in found.records)
    said = []
    if over := states.count("infeasible"):
        said.append(
            f"{over:,} of {count(drawn, 'draw')} ({100 * over / drawn:.0f}%) "
            f"{'was' if over == 1 else 'were'} over the parameter budget, which costs no training."
        )
    if diverged:
        said.append(f"{_were(diverged, 'trial')} ended because the training diverged.")
    if failed := states.count("failed"):
        said.append(f"{count(failed, 'trial')} failed with an error: `nas-search trials` has it.")
    if repeated := states.count("duplicate"):
        said.append(
            f"{count(repeated, 'draw')} repeated a trained configuration and cost no training."
        )
    return " ".join(said)


def improvements(found: Findings) -> list[int]:
    """After how many trained trials the best so far became better, the first one included."""
    best, places = None, []
    for place, each in enumerate(found.trained, 1):
        if each.state == "complete" and (best is None or merit(each) > merit(best)):
            best = each
            places.append(place)
    return places


def progress(found: Findings) -> str:
    """When the most accurate trial came. Empty without a complete trial or with a single one."""
    places, trained = improvements(found), len(found.trained)
    if not places or trained == 1:
        return ""
    since = trained - places[-1]
    return f"The most accurate network was number {places[-1]:,} of {trained:,} trained trials" + (
        f"; the {since:,} after it brought nothing better." if since else ", the last one."
    )


def _were(number: int, thing: str) -> str:
    return f"{count(number, thing)} {'was' if number == 1 else 'were'}"


def _duration(seconds: float) -> str:
    for name, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {name}s"
    return f"{seconds:.0f} seconds"
