"""How far each choice of the search predicts the score."""

from collections.abc import Sequence

from results.charts.chart import BLUE, GREY, Axis, Bars, Chart, Rule
from results.importance import CHANCE, Prediction, predict_scores
from results.markdown import count
from results.record import TrialRecord
from results.selection import complete
from results.settings import StudySettings

FEWEST = 40
"""Complete trials. In 40 made-up studies each, where one choice meant 29% fewer errors and no other
did anything, that one was found beyond chance in 0% with 20 trials, 42% with 40, 88% with 60."""

SHOWN = 12


def importance_chart(records: Sequence[TrialRecord], settings: StudySettings) -> Chart:
    """The choices that predict the score best, and what chance alone would reach."""
    title = "How far each choice predicts the score"
    axis = Axis("score differences predicted, %")
    trials = len(complete(list(records)))
    predictions = predict_scores(records, settings) if trials >= FEWEST else None
    if predictions is None or not predictions.found:
        return Chart(
            title,
            axis,
            Axis(),
            (),
            title,
            empty=f"Too few complete trials to tell: it takes {FEWEST}, there "
            f"{'is' if trials == 1 else 'are'} {trials} so far.",
        )
    shown = predictions.found[:SHOWN]
    beyond = [each.share > predictions.chance for each in predictions.found]
    return Chart(
        title,
        axis,
        Axis(categories=tuple(each.choice for each in shown)),
        (
            *_bars(shown, predictions.chance),
            Rule(
                100 * predictions.chance,
                f"chance: {1 - CHANCE:.0%} of cases stay below",
                axis="x",
            ),
        ),
        f"{sum(beyond)} of {count(len(beyond), 'choice')} predict the score of "
        f"{count(trials, 'complete trial')} better than chance; "
        f"{shown[0].choice} best, {100 * shown[0].share:.0f}% of the differences.",
        subtitle="Association, not cause: some were tried together.",
    )


def _bars(shown: Sequence[Prediction], chance: float) -> list[Bars]:
    """Those beyond chance, and the others in grey."""
    bars = []
    for colour, label, is_beyond in ((BLUE, "beyond chance", True), (GREY, "within chance", False)):
        chosen = [
            (place, each) for place, each in enumerate(shown) if (each.share > chance) == is_beyond
        ]
        if chosen:
            bars.append(
                Bars(
                    [100 * each.share for _, each in chosen],
                    [place for place, _ in chosen],
                    label,
                    colour,
                    names=[
                        f"{each.choice}: {100 * each.share:.0f}%, of {each.trials:,} trials"
                        for _, each in chosen
                    ],
                )
            )
    return bars
