"""The first screen of a report: what holds the target, how small, and how sure that is."""

from results.leaderboard import answer, progress
from results.markdown import count, table
from results.record import TrialRecord
from results.report.advice import advice
from results.report.findings import Findings, smallest_first
from results.report.mattered import choices
from results.selection import confirmed


def headline(found: Findings) -> str:
    """The answer in a sentence."""
    return answer(found.records, found.runs, found.settings)


def state(found: Findings) -> str:
    """How far the search has come, and how far from the target, in a few sentences."""
    said = [progress(found.records)]
    states = [each.state for each in found.records]
    if "running" in states:
        said.append(
            f"The search is still going on, or was cut off: {states.count('running'):,} of "
            f"{count(len(found.records), 'draw')} have begun and not ended."
        )
    if found.best and not found.smallest:
        short = found.settings.target - found.best.sustained
        said.append(
            f"The most accurate is {short:.2f} points short of the target on validation images."
        )
    if found.complete and not found.runs:
        said.append("Nothing has been confirmed on test images yet.")
    return " ".join(said)


def smallness(found: Findings) -> str:
    """How small a network that holds the target can be, as far as this search says."""
    target = f"{found.settings.target:g}%"
    if found.best is None:
        return "No network has been trained to its end, so this search does not say yet."
    held = found.smallest_confirmed
    if held and (found.smallest is None or held.params < found.smallest.params):
        return (
            f"The smallest network that held {target} on test images, from every seed of its "
            f"confirmation, has {held.params:,} parameters (trial {held.number}); on "
            f"validation images it sustained {held.sustained:.2f}%."
        )
    if found.smallest is None:
        return (
            f"This search does not say: none of its networks held {target} on validation images. "
            f"The nearest sustained {found.best.sustained:.2f}% with {found.best.params:,} "
            f"parameters."
        )
    return (
        f"The smallest network that held {target} on validation images has "
        f"{found.smallest.params:,} parameters (trial {found.smallest.number})."
    )


def glance(found: Findings) -> list[str]:
    """What mattered and what to try next, each in its first sentence; more is in the analysis."""
    mattered, advised = choices(found), advice(found)
    return [
        *(f"What mattered: {each}" for each in mattered[:1]),
        *(f"To try next: {each}" for each in advised[:1]),
    ]


def answer_table(found: Findings) -> str:
    """The most accurate, the smallest that holds, and the other finalists; empty without any."""
    named: dict[int, list[str]] = {}
    for name, record in (
        ("most accurate on validation", found.best),
        (f"smallest that holds {found.settings.target:g}% on validation", found.smallest),
    ):
        if record:
            named.setdefault(record.number, []).append(name)
    for number in found.runs:
        named.setdefault(number, ["finalist"])
    if not named:
        return ""
    shown = smallest_first([found.records[number] for number in named])
    rows = [_row(found, each, " and ".join(named[each.number])) for each in shown]
    return (
        table(("", "parameters", "validation %", "test %", "seeds"), rows)
        + "\n\nSustained accuracies: on validation images of the one run by which a network was "
        "chosen; on test images the mean of its seeds, and how many of them hold the target."
    )


def _row(found: Findings, record: TrialRecord, name: str) -> tuple[str, ...]:
    outcome = confirmed(found.runs.get(record.number, []), found.settings.target)
    test, seeds = "", "not confirmed"
    if outcome:
        test, seeds = f"{outcome['mean']:.2f}", f"{outcome['holding']} of {outcome['seeds']}"
    return (
        f"{name} (trial {record.number})",
        f"{record.params:,}",
        f"{record.sustained:.2f}",
        test,
        seeds,
    )
