"""The report: right about its study, whole in one file, and there whatever the study is like."""

import datetime
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from results.errors import NasSearchError
from results.record import TrialRecord
from results.report.advice import goal
from results.report.answer import answer_table, headline, smallness, state
from results.report.digits import (
    TestDigits,
    commonest_confusions,
    confusion_matrix,
    predicted,
    wrong_by_all,
)
from results.report.findings import Findings
from results.report.page import page
from results.report.pictures import Picture
from results.report.report import Report, make_report
from results.report.write import write_report
from search.data import DataSource, find_at_hand
from space import BASELINES
from tests.conftest import CommandLine
from tests.studies import SETTINGS, complete_trials, confirmed, findings, trained

NOW = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Reads a page strictly: every element closed in its order, every id once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.alternatives: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        self.alternatives += [values["alt"]] if "alt" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> after {self.open}"


def read(text: str) -> Reader:
    """The page, which needs nothing from elsewhere."""
    found = Reader(text)
    for address in found.addresses:
        assert address.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,", "#"))
        assert not address.startswith("#") or address[1:] in found.ids
    assert "script" not in found.tags
    assert "@import" not in text
    assert "url(" not in text
    return found


@pytest.fixture(scope="module")
def written(finished: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small finished study."""
    folder = tmp_path_factory.mktemp("report") / "of" / "it"
    done = finished("report", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"{folder / 'report.html'}" in done.stdout
    return folder


def test_report_of_a_finished_study(finished: CommandLine, written: Path) -> None:
    text, html = (written / "report.md").read_text(), (written / "report.html").read_text()
    best = json.loads(finished("best", "--json").stdout)
    assert f"{best['most_accurate']['params']:,}" in text
    assert f"{best['most_accurate']['confirmed']['mean']:.2f}" in text
    parts = ("## Target", "## Results", "## Analysis", "#### Layers", "#### Mistakes", "## Words")
    assert all(part in text for part in parts)
    shown = set(re.findall(r"\]\((pictures/[^)]+)\)", text))
    assert shown == {f"pictures/{each.name}" for each in (written / "pictures").iterdir()}
    assert {"pictures/front.png", "pictures/curves.png"} < shown
    for name in shown:
        assert (written / name).read_bytes().startswith(b"\x89PNG")
    page = read(html)
    assert page.tags.count("img") == len(shown)
    assert all(page.alternatives)
    assert page.tags.count("table") == text.count("\n| --")


def test_report_says_first_what_it_found(finished: CommandLine, tmp_path: Path) -> None:
    runs = shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    done = finished("report", "--out", str(runs))
    folder = runs / "reports" / "mnist-sample-accuracy-2000"
    assert done.stdout.splitlines()[1:] == [
        f"  {folder / 'report.html'}",
        f"  {folder / 'report.md'}",
    ]
    assert "holds 5%" in done.stdout.splitlines()[0]
    assert (folder / "report.html").is_file()


def test_layers_are_those_of_the_network(finished: CommandLine, written: Path) -> None:
    best = json.loads(finished("best", "--json").stdout)["most_accurate"]
    text = (written / "report.md").read_text()
    (whole,) = re.findall(
        r"\| \*\*all\*\* \|  \| \*\*([\d,]+)\*\* \|  \| \*\*([\d,]+)\*\* \|", text
    )
    assert [int(each.replace(",", "")) for each in whole] == [best["params"], best["macs"]]


def test_an_older_report_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    one = Report(
        "one", "", "# one\n\n## a\n\n![x](pictures/old.png)\n", {"pictures/old.png": picture()}
    )
    two = Report(
        "two", "", "# two\n\n## b\n\n![y](pictures/new.png)\n", {"pictures/new.png": picture()}
    )
    write_report(one, tmp_path)
    (tmp_path / "pictures" / "mine.png").touch()
    (tmp_path / "notes.txt").touch()
    write_report(two, tmp_path)
    names = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert names == {
        *("report.html", "report.md", "pictures/new.png", "pictures/mine.png", "notes.txt")
    }
    assert "<h1>two</h1>" in (tmp_path / "report.html").read_text()
    with pytest.raises(NasSearchError, match="is a file"):
        write_report(two, tmp_path / "notes.txt")


def picture() -> Picture:
    return Picture(b"\x89PNG", b"<svg/>", "image/svg+xml")


def test_names_in_studies_are_text_and_nothing_else() -> None:
    nasty = '<script>alert(1)</script> ![x](http://elsewhere/x.png) [y](http://elsewhere) "&'
    report = Report(nasty, nasty, f"# {nasty}\n\n## {nasty}\n\n| a |\n| --- |\n| {nasty} |\n", {})
    html = page(report)
    assert {"script", "img"} & set(read(html).tags) == set()
    assert "&lt;script&gt;" in html


def running(number: int) -> TrialRecord:
    return TrialRecord(number, "running", None, {}, {"worker": "here"})


def states(count: int) -> list[TrialRecord]:
    return [trained(n, [98.0 + 0.01 * n] * 15) for n in range(count)]


STUDIES = {
    "nothing drawn": (findings([]), "No trial has been trained to its end yet."),
    "first one running": (findings([running(0)]), "No trial has been trained to its end yet."),
    "all stopped": (
        findings([trained(n, [97.0] * 3, reason="pruned after epoch 3") for n in range(3)]),
        "No trial has been trained to its end yet.",
    ),
    "one trial": (findings(states(1)), "No trial holds 99.4% so far; the best sustains 98.00%"),
    "one trial, one running": (findings([*states(1), running(1)]), "the best sustains 98.00%"),
    "holds, not confirmed": (
        findings([trained(0, [99.5] * 15)]),
        "the smallest that holds 99.4% on validation images; not confirmed yet",
    ),
    "confirmed": (
        findings([trained(0, [99.5] * 15)], [confirmed(0, [99.4, 99.41])]),
        "Confirmed: trial 0 with 5,760 parameters holds 99.4%",
    ),
    "one epoch": (
        findings(
            [trained(0, [90.0], settings=SETTINGS.model_copy(update={"epochs": 1, "sustain": 1}))],
            (),
            SETTINGS.model_copy(update={"epochs": 1, "sustain": 1}),
        ),
        "the best sustains 90.00%",
    ),
}


@pytest.mark.parametrize("kind", STUDIES)
def test_every_kind_of_study_has_a_report(kind: str) -> None:
    found, said = STUDIES[kind]
    assert said in headline(found)
    made = make_report(found, NOW)
    assert f"**{headline(found)}**" in made.markdown
    assert "2026-01-02 at 03:04 UTC" in made.markdown
    assert "nan" not in made.markdown.replace("finalist", "")
    assert "None" not in made.markdown
    read(page(made))


def test_a_search_that_goes_on_is_said_to() -> None:
    found = findings([*states(2), running(2), running(3)])
    assert "2 of 4 draws have begun and not ended" in state(found)
    assert "1.39 points short of the target" in state(found)
    assert "going on" not in state(findings(states(2)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (findings([]), "does not say yet"),
        (findings(states(2)), "none of its networks held 99.4%"),
        (findings([trained(0, [99.5] * 15)]), "held 99.4% on validation images has 5,760"),
    ],
)
def test_how_small_it_can_get_is_answered(found: Findings, said: str) -> None:
    assert said in smallness(found)


def test_a_confirmed_near_miss_is_the_smallest() -> None:
    near = [trained(0, [99.35] * 15)]
    held = findings(near, [confirmed(0, [99.45, 99.41])])
    assert "99.4% on test images" in smallness(held)
    assert "has 5,760 parameters (trial 0)" in smallness(held)
    assert "--max-params 5760" in goal(held)
    assert "held on test images" in goal(held)
    # From every seed, and not from one alone.
    for accuracies in ([99.45, 99.39], [99.45]):
        missed = findings(near, [confirmed(0, accuracies)])
        assert "none of its networks held" in smallness(missed)
        assert goal(missed) == ""


def test_without_a_picture_nothing_is_said_of_its_dots() -> None:
    text = make_report(findings([]), NOW).markdown
    assert smallness(findings([])) in text.partition("## How small can it get?")[2]
    assert "Every dot" not in text


def test_finalists_are_called_so_once_confirmed_and_stand_in_one_order() -> None:
    leading = make_report(findings([]), NOW).markdown
    assert "## Leading trials" in leading
    assert "## Finalists" not in leading
    records = [
        trained(0, [99.5] * 15, parameters=BASELINES["plain-wide"]),
        trained(1, [99.5] * 15, parameters=BASELINES["1.2"]),
        trained(2, [99.4] * 15),
    ]
    runs = [confirmed(number, [99.4, 99.5]) for number in (0, 1, 2)]
    text = make_report(findings(records, runs), NOW).markdown
    assert "## Finalists" in text
    sizes = {number: records[number].params for number in range(3)}
    expected = [str(number) for number in sorted(sizes, key=sizes.__getitem__)]
    assert expected == ["2", "1", "0"]
    assert re.findall(r"^\| [a-z][^|]*\(trial (\d)\)", text, re.MULTILINE) == expected
    assert re.findall(r"^- Trial (\d) ", text, re.MULTILINE) == expected
    assert re.findall(r"^### Trial (\d):", text, re.MULTILINE) == expected
    board = text.partition("### Finalists, on test images")[2].partition("## Target")[0]
    assert re.findall(r"^\| (\d) \|", board, re.MULTILINE) == expected


def test_a_report_that_has_no_folder_says_nothing_else(
    finished: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = finished("report", str(tmp_path / "file"))
    assert done.returncode != 0
    assert "is a file: name a folder" in done.stderr
    assert done.stdout == ""


def test_validation_and_test_figures_are_never_in_a_column(written: Path) -> None:
    found = findings(
        [trained(0, [99.1] * 15), trained(1, [99.5] * 15)], [confirmed(1, [98.9, 98.8])]
    )
    table = answer_table(found).splitlines()
    assert table[0] == "|  | parameters | validation % | test % | seeds |"
    assert table[2].endswith("| 5,760 | 99.50 | 98.85 | 0 of 2 |")
    lines = (written / "report.md").read_text().splitlines()
    heads = [before for before, line in pairwise(lines) if line.startswith("| --")]
    assert heads
    for cell in (cell for head in heads for cell in head.split("|")):
        assert not ("test" in cell and "validation" in cell), cell


# Mistakes


def digits(labels: str) -> TestDigits:
    return TestDigits(np.zeros((len(labels), 28, 28), np.uint8), np.array([int(x) for x in labels]))


def test_confusions_are_counted_by_digit_and_seed() -> None:
    test = digits("0123")
    runs = [*confirmed(0, [99.0], "0193"), *confirmed(0, [99.0], "0191")]
    taken_for = predicted(runs, test)
    assert taken_for is not None
    matrix = confusion_matrix(taken_for, test.labels)
    assert matrix.sum() == 8
    assert (matrix[2, 9], matrix[3, 1], matrix[3, 3]) == (2, 1, 1)
    assert commonest_confusions(matrix) == [(2, 9, 2), (3, 1, 1)]
    assert wrong_by_all(taken_for, test.labels) == [2]


def test_without_images_or_predictions_the_report_says_why() -> None:
    record = trained(0, [99.5] * 15)
    cases = (
        (None, "0123", "not at hand"),
        (digits("0123"), "", "made before that was kept"),
        (digits("012"), "0123", "not the test images it was measured on"),
        (digits("8123"), "2183", "Most often they took a 2 for an 8 (2 times), an 8 for a 2"),
        (digits("0123"), "0123", "No test image was taken for another digit by all of 2 seeds"),
    )
    for test, predictions, said in cases:
        runs = {0: confirmed(0, [99.4, 99.5], predictions)}
        found = Findings("test", SETTINGS, [record], runs, test)
        assert said in make_report(found, NOW).markdown


def test_mistakes_of_a_confirmation_agree_with_its_accuracy(
    finished: CommandLine, written: Path
) -> None:
    text = (written / "report.md").read_text()
    (mistakes,) = re.findall(r"seeds made ([\d,]+) mistakes in all", text)
    rows = re.findall(r"^\| \d \| [\d.]+ \| [\d.]+ ([\d.]+) \| [\d.]+ \|$", text, re.MULTILINE)
    assert len(rows) == 2
    assert int(mistakes.replace(",", "")) == round(sum(100 - float(each) for each in rows) * 10)


def test_images_are_looked_for_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAS_SEARCH_DATA", raising=False)
    monkeypatch.setattr("search.data._cache_folder", lambda: tmp_path)
    monkeypatch.setattr("search.mnist.download", pytest.fail)
    assert find_at_hand("mnist", tmp_path) is None
    assert find_at_hand("mnist-sample", None) == DataSource("mnist-sample")
    with pytest.raises(NasSearchError, match="not a folder"):
        find_at_hand("mnist", tmp_path / "nowhere")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images", "t10k-images"):
        (raw / f"{name}-idx3-ubyte").touch()
    for name in ("train-labels", "t10k-labels"):
        (raw / f"{name}-idx1-ubyte").touch()
    assert find_at_hand("mnist", None) is None  # there, and not MNIST


# During a run, and of many trials


def test_report_while_a_search_writes(nas_search: CommandLine) -> None:
    arguments = ("--dataset", "mnist-sample", "--no-baselines", "--max-params", "2000")
    search = nas_search.start(
        *(*arguments, "--trials", "50", "--epochs", "3", "--workers", "1"),
        *("--precision", "float32", "--device", "cpu", "--finalists", "0"),
    )
    try:
        report = nas_search.folder / "runs/reports/mnist-sample-accuracy-2000/report.md"
        deadline = time.monotonic() + 120
        done = nas_search("report")
        while done.returncode and time.monotonic() < deadline and search.poll() is None:
            time.sleep(1)
            done = nas_search("report")
        assert done.returncode == 0, done.stderr
        assert search.poll() is None, "the search ended before the report was written"
        read(report.with_suffix(".html").read_text())
    finally:
        search.terminate()
        try:
            search.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            search.kill()


def test_many_trials_take_seconds() -> None:
    """10,000 trials, 2,000 of them complete; reading them from a database is not in this."""
    many = [
        replace(each, number=number)
        for number, each in enumerate(
            each
            for seed in range(5)
            for each in (
                *[trained(0, [97.0 + seed / 10] * 3, reason="pruned after epoch 3")] * 1_600,
                *(with_history(each) for each in complete_trials(400, seed)),
            )
        )
    ]
    started = time.process_time()
    made = make_report(findings(many), NOW)
    html = page(made)
    assert time.process_time() - started < 20
    assert len(html) < 5_000_000
    assert "10,000" in made.markdown


def with_history(record: TrialRecord) -> TrialRecord:
    """A complete trial with the curve that a search would have left."""
    accuracies = [record.sustained - 0.1 * (15 - epoch) for epoch in range(1, 16)]
    return trained(record.number, accuracies, parameters=record.parameters)


def test_out_names_the_folder_of_the_page_where_no_search_wrote(
    finished: CommandLine, tmp_path: Path
) -> None:
    done = finished("report", "--out", str(tmp_path / "page"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page" / "report.html").is_file()
    assert str(tmp_path / "page" / "report.md") in done.stdout
