"""The notebook of a drill-down: its networks to train again, and its figures, to go on from.

It needs nothing of the study: configurations (as JSON) and figures stand in it.
"""

from collections.abc import Sequence
from pathlib import Path

from results.atomic import write_atomically
from results.charts.ladder import rung_name
from results.errors import NasSearchError
from results.ladder import Ladder
from results.markdown import bullets
from results.record import Given
from results.report.drilldown import headline, protocol
from results.settings import StudySettings

FILE = "drilldown.ipynb"

_SETUP = """\
import matplotlib.pyplot as plt
import pandas as pd
import torch

from search.data import find
from search.train import TrainingRun
from space import Configuration, Recipe, layer_costs

torch.set_num_threads(1)  # more only get in each other's way: the networks are small

DATASET = "mnist-sample"  # 5,000 digits, for a quick look
EPOCHS = 2
PRECISION = "float32"
# What was measured: DATASET = "{dataset}", EPOCHS = {epochs}, PRECISION = "{precision}"."""

_LOAD = """\
configurations = {name: Configuration.from_json(text) for name, text in RUNGS.items()}
names = list(configurations)
names"""

_LAYERS = """\
def layers(name):
    costs = layer_costs(configurations[name].architecture)
    columns = ["name", "output_shape", "params", "receptive_field_pixels", "macs"]
    return pd.DataFrame([{each: getattr(cost, each) for each in columns} for cost in costs])


layers(names[-1])"""

_TRAIN = """\
digits = find(DATASET, None, print).load()


def train(configuration, seed=0, epochs=EPOCHS):
    \"\"\"A row for each epoch: losses, and accuracies in percent. No test images are used.\"\"\"
    run = TrainingRun(
        configuration,
        digits.train,
        digits.validation,
        epochs=epochs,
        seed=seed,
        precision=PRECISION,
    )
    rows = []
    for metrics in run:
        rows.append(vars(metrics))
        print(f"epoch {metrics.epoch} of {epochs}: {metrics.accuracy:.2f}%")
    return pd.DataFrame(rows).set_index("epoch")


def plot(curves):
    \"\"\"Validation accuracy by epoch, a line for each of the named trainings.\"\"\"
    for name, curve in curves.items():
        plt.plot(curve.index, curve["accuracy"], marker="o", label=name)
    plt.xticks(curve.index)
    plt.xlabel("epoch")
    plt.ylabel("validation accuracy, %")
    plt.legend()
    plt.show()


curves = {name: train(configurations[name]) for name in dict.fromkeys((names[0], names[-1]))}
plot(curves)"""

_TABLE = """\
table = pd.DataFrame(MEASURED)
rungs = table.groupby("rung", sort=False)
rungs.agg(
    parameters=("params", "first"),
    mean=("sustained", "mean"),
    sd=("sustained", "std"),
    gap=("gap", "mean"),
    seconds=("seconds", "median"),
)"""

_PLOT = """\
plt.scatter(table["sustained"], table["rung"], color="tab:orange", label="a seed")
means = rungs["sustained"].mean()
plt.plot(means, means.index, label="mean")
plt.axvline({target}, color="tab:red", linestyle=":", label="target {target}%")
plt.gca().invert_yaxis()
plt.xlabel("sustained validation accuracy, %")
plt.legend()
plt.show()"""

_EXERCISE = """\
def changed(configuration, **recipe):
    \"\"\"The configuration with other values in its recipe, such as `learning_rate=0.1`.\"\"\"
    made = Recipe(**{**dict(configuration.recipe), **recipe})
    return configuration.model_copy(update={"recipe": made})


base = configurations[names[-1]]
mine = changed(base, learning_rate=base.recipe.learning_rate / 2)  # change one thing here
plot({"as it was": train(base), "changed": train(mine)})"""

_NETWORKS = """\
## The networks

One for each rung: its architecture, and the recipe that trains it."""

_TRAINING = """\
## Train one

On the training images, measured on the validation images after each epoch. A few epochs on few
digits show that it runs, not how good it is: for that set `DATASET`, `EPOCHS` and `PRECISION` above
to what was measured."""

_CHANGE = """\
## Change one thing

Which setting of the recipe helps? Say first what you expect; then change that setting alone, and
compare. One run is no evidence: repeat it from other seeds (`train(mine, seed=1)`) before you
believe a difference. `base.recipe` shows all settings."""


def make_notebook(title: str, ladder: Ladder, settings: StudySettings) -> str:
    """The notebook's text (Jupyter's format 4, JSON) of a ladder as far as it is trained.

    Its cells run from top to bottom within a minute on a CPU. Raises NasSearchError if no rung is
    trained.
    """
    from nbformat import v4, writes

    if not ladder.rungs:
        raise NasSearchError("no rung of the ladder is trained yet: a notebook needs one")
    cells = [
        v4.new_markdown_cell(_introduction(title, ladder, settings)),
        v4.new_code_cell(
            _SETUP.format(
                dataset=settings.dataset, epochs=settings.epochs, precision=_precision(ladder)
            )
        ),
        v4.new_markdown_cell(_NETWORKS),
        v4.new_code_cell("RUNGS = {\n" + _lines(_configurations(ladder)) + "}"),
        v4.new_code_cell(_LOAD),
        v4.new_code_cell(_LAYERS),
        v4.new_markdown_cell(_TRAINING),
        v4.new_code_cell(_TRAIN),
        v4.new_markdown_cell("## What was measured\n\n" + bullets(protocol(ladder, settings))),
        v4.new_code_cell("MEASURED = [\n" + _lines(_measured(ladder)) + "]"),
        v4.new_code_cell(_TABLE),
        v4.new_code_cell(_PLOT.format(target=f"{settings.target:g}")),
        v4.new_markdown_cell(_CHANGE),
        v4.new_code_cell(_EXERCISE),
    ]
    for number, cell in enumerate(cells, 1):
        cell.id = f"cell-{number}"  # drawn at random otherwise: the same ladder is the same file
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    text: str = writes(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))
    return f"{text}\n"


def write_notebook(text: str, folder: Path) -> Path:
    """Writes the notebook to `folder`, over an older one; returns its file. Raises OSError."""
    write_atomically(folder / FILE, text.encode())
    return folder / FILE


def _precision(ladder: Ladder) -> str:
    """The number format of the ladder's trainings."""
    return str(ladder.rungs[0].here.runs[0].attributes["precision"])


def _introduction(title: str, ladder: Ladder, settings: StudySettings) -> str:
    return (
        f"# {title}: drill-down\n\n{headline(ladder, settings)}\n\nThis notebook goes on from "
        f"there: it has the network of each rung with the recipe that trained it, and what was "
        f"measured. It needs nas-search and Jupyter (`pip install jupyterlab`) in one Python. Run "
        f"the cells from top to bottom."
    )


def _configurations(ladder: Ladder) -> list[str]:
    """Entries of a dict: JSON by the name of the rung."""
    return [
        f"{rung_name(number, rung)!r}: {rung.here.runs[0].configuration.to_json()!r}"
        for number, rung in enumerate(ladder.rungs, 1)
    ]


def _measured(ladder: Ladder) -> list[str]:
    """Rows of a table: dicts, one for each training. No gap if it diverged."""
    rows = []
    for number, rung in enumerate(ladder.rungs, 1):
        for run in rung.here.runs:
            given = Given.of(run.attributes)
            assert given is not None  # drill-downs have no other trials
            rows.append(
                {
                    "rung": rung_name(number, rung),
                    "params": run.params,
                    "seed": given.seed,
                    "sustained": round(run.sustained, 4),
                    "gap": None if run.diverged else run.attributes["gap"],
                    "seconds": run.attributes["seconds"],
                }
            )
    return [repr(row) for row in rows]


def _lines(entries: Sequence[str]) -> str:
    return "".join(f"    {each},\n" for each in entries)
