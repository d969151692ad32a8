"""The dashboard in a real browser, and the process that serves it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from results import publish as publishing
from results.ledger import Ledger, at_once, with_ledger
from results.publish import PLOTS, publish
from results.record import records
from results.storage import default_url, load_study, open_storage
from results.whereabouts import FOLDER_KEY
from search.dashboard import _Readers
from search.publisher import FEWEST_SECONDS, Publisher
from tests.conftest import CommandLine

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

in_a_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)


@contextlib.contextmanager
def serving(line: CommandLine, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command while it serves, and what it says on its first line."""
    process = line.start("dashboard", "--port", "0", *options)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.communicate()
        yield process, said
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url(finished: CommandLine) -> Iterator[str]:
    with serving(finished) as (_, said):
        found = re.search(r"http://127\.0\.0\.1:\d+/dashboard/studies/1\b", said)
        assert found, said
        yield found[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
        *("--window-size=1280,1400", "--enable-unsafe-swiftshader"),
    ):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def wait_for(browser: Any, script: str, seconds: float = 30) -> Any:
    """What a script returns as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := browser.execute_script(script):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{script}\n{browser.execute_script('return document.body.innerText')}")


def errors(browser: Any) -> list[str]:
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]


def asked_for(browser: Any) -> set[str]:
    """The hosts that the browser has asked for something."""
    messages = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return {each.split("/")[2].split(":")[0] for each in urls if each.startswith("http")}


@in_a_browser
def test_the_study_page_shows_its_plots(browser: Any, url: str, finished: CommandLine) -> None:
    browser.get(url)
    shown = "document.querySelectorAll('[id^=\"user-defined-plot:\"] svg.main-svg')"
    wait_for(browser, f"return {shown}.length >= {len(PLOTS)}")
    ids = browser.execute_script(
        "return [...document.querySelectorAll('[id^=\"user-defined-plot:\"]')].map(e => e.id)"
    )
    assert ids == [f"user-defined-plot:{name}" for name in PLOTS]
    for each in ids:
        size = browser.execute_script(
            "const box = document.getElementById(arguments[0]).querySelector('svg.main-svg')"
            ".getBoundingClientRect(); return [box.width, box.height]",
            each,
        )
        assert min(size) > 200, each
    points = browser.execute_script(
        "return document.getElementById('user-defined-plot:front')"
        ".querySelectorAll('.scatterlayer .point').length"
    )
    study = load_study(open_storage(default_url(finished.folder / "runs"), create=False), None)
    assert points >= sum(each.was_trained for each in records(study))
    assert errors(browser) == []
    assert asked_for(browser) == {"127.0.0.1"}


@in_a_browser
def test_the_note_is_the_leaderboard(browser: Any, url: str) -> None:
    browser.get(f"{url}/note")
    text = wait_for(
        browser,
        "const text = document.body.innerText; return text.includes('Finalists') && text",
    )
    assert "Target: 5%" in text
    assert browser.execute_script("return document.querySelectorAll('table').length") == 2
    assert errors(browser) == []


@in_a_browser
def test_a_trial_shows_its_pictures_and_its_table(browser: Any, url: str) -> None:
    study = url.replace("/dashboard/studies/", "/api/studies/")
    with urllib.request.urlopen(study) as answer:
        trials = json.load(answer)["trials"]
    trained = next(each for each in trials if each["artifacts"])
    kept = {each["key"] for each in trained["user_attrs"]}
    assert {"params", "macs", "sustained", "gap", "epochs_run", "seconds"} <= kept
    assert not kept & {"history", "architecture", "recipe"}
    browser.get(f"{url}/trials?numbers={trained['number']}")
    widths = wait_for(
        browser,
        "const seen = [...document.images].filter(e => e.src.includes('/artifacts/'));"
        "return seen.length == 2 && seen.every(e => e.complete) && seen.map(e => e.naturalWidth)",
    )
    assert min(widths) > 500
    text = browser.execute_script("return document.body.innerText")
    assert {"epochs.csv", "learning-curve.png", "network.png"} <= set(text.split())
    table = next(each for each in trained["artifacts"] if each["filename"] == "epochs.csv")
    base, number = url.split("/dashboard/studies/")
    path = f"{base}/artifacts/{number}/{trained['trial_id']}/{table['artifact_id']}"
    with urllib.request.urlopen(path) as answer:
        assert answer.readline().startswith(b"epoch,train_loss,")
    assert errors(browser) == []


@in_a_browser
def test_a_telephone_gets_one_column(browser: Any, url: str) -> None:
    narrow = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        browser.get(url)
        wait_for(browser, "return document.querySelector('[id^=\"user-defined-plot:\"] svg')")
        lefts = browser.execute_script(
            "return [...document.querySelectorAll('[id^=\"user-defined-plot:\"]')]"
            ".map(e => e.getBoundingClientRect()).map(e => [e.left, e.right])"
        )
        assert all(0 <= left < right <= 390 for left, right in lefts)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_serves_what_is_written_meanwhile(finished: CommandLine, tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    study = load_study(open_storage(default_url(tmp_path / "runs"), create=False), None)
    before = len(study.trials)
    writing = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not writing.is_set():
                study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
                publish(with_ledger(study))
        except BaseException as error:
            failures.append(error)

    with serving(line) as (_, said):
        api = said.split()[1].replace("/dashboard/studies/", "/api/studies/")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = []
            for _ in range(6):
                with urllib.request.urlopen(api) as answer:
                    found = json.load(answer)
                seen.append(len(found["trials"]))
                plots = {each["id"]: each["graph_object"] for each in found["plotly_graph_objects"]}
                empty = [name for name, plot in plots.items() if not json.loads(plot)["data"]]
                assert set(empty) <= {"effects", "importance"}  # too few trials for these
                assert tuple(plots) == PLOTS
                assert found["note"]["body"].count("**Target:") == 1
                time.sleep(0.6)
        finally:
            writing.set()
            writer.join()
    assert failures == []
    assert seen[-1] > before


def test_a_study_that_took_the_number_of_a_deleted_one_is_read_anew(tmp_path: Path) -> None:
    storage = open_storage(default_url(tmp_path), create=True)
    readers = _Readers(storage)

    def make(folder: str, trials: int) -> int:
        study = optuna.create_study(study_name="same", storage=storage)
        study.set_user_attr(FOLDER_KEY, folder)
        for _ in range(trials):
            study.add_trial(optuna.trial.create_trial(value=float(len(folder))))
        return study._study_id

    first = make("a", 3)
    assert [each.value for each in readers.get_all_trials(first)] == [1.0] * 3
    storage.delete_study(first)
    assert make("bb", 2) == first
    found = readers.get_all_trials(first)
    assert [each.value for each in found] == [2.0] * 2
    assert readers.get_trial(found[0]._trial_id).value == 2.0


def test_two_that_publish_at_once_take_turns(tmp_path: Path) -> None:
    storage = open_storage(default_url(tmp_path), create=True)
    optuna.create_study(study_name="shared", storage=storage)
    ours, theirs = (
        optuna.load_study(study_name="shared", storage=Ledger(storage, "shared")) for _ in range(2)
    )

    other = threading.Thread(target=at_once, args=(theirs, lambda: save_note(theirs, "b" * 9_000)))

    def publish_short() -> None:
        other.start()
        time.sleep(0.3)
        save_note(ours, "a")

    at_once(ours, publish_short)
    other.join()
    assert get_note(theirs) == "b" * 9_000


def test_ctrl_c_ends_it_at_once_and_quietly(finished: CommandLine) -> None:
    with serving(finished) as (process, _):
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=20)
        assert process.returncode == 0
        assert (said, complained) == ("", "")
        assert time.monotonic() - started < 5


def test_faults_are_one_clear_line(finished: CommandLine, nas_search: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = finished("dashboard", "--port", port)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port {port} is in use: name another with --port, or 0 for any "
        + ("that is free\n")
    )
    nowhere = finished("dashboard", "--port", "0", "--host", "192.0.2.1")
    assert nowhere.stderr.startswith("error: --host 192.0.2.1 is no address of this machine")
    assert nas_search("dashboard").stderr.startswith("error: no studies in ")


def test_who_serves_it_to_others_is_warned(finished: CommandLine) -> None:
    with serving(finished, "--host", "0.0.0.0") as (process, said):
        assert "http://127.0.0.1:" in said
        process.send_signal(signal.SIGINT)
        _, complained = process.communicate(timeout=20)
    assert "without a password" in complained


class FakeTime:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def reader(finished: CommandLine, tmp_path: Path) -> optuna.Study:
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    database = open_storage(default_url(tmp_path / "runs"), create=False)
    return with_ledger(load_study(database, None))


def test_publishing_takes_no_more_than_its_share(
    reader: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, times = FakeTime(), []

    def slow(_: optuna.Study) -> None:
        times.append(clock.now)
        clock.now += 2.0

    monkeypatch.setattr("search.publisher.time", clock)
    monkeypatch.setattr(publishing, "publish", slow)
    publisher = Publisher(reader, lambda line: None)
    for _ in range(400):
        clock.now += 1.0
        publisher.update()
    assert times[0] == 1_000 + FEWEST_SECONDS
    assert times[1] - times[0] == pytest.approx(102, abs=2)
    assert len(times) == 4
    publisher.update_if_quick()
    assert len(times) == 4


def test_the_first_trained_trial_is_shown_at_once(
    reader: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, times = FakeTime(), []
    monkeypatch.setattr("search.publisher.time", clock)
    monkeypatch.setattr(publishing, "publish", lambda _: times.append(clock.now))
    publisher = Publisher(reader, lambda line: None)
    for _ in range(10):
        clock.now += 1.0
        publisher.update(any_trained=clock.now > 1_005)
    assert times == [1_006]


def test_plots_say_when_they_were_drawn_and_the_front_what_holds(reader: optuna.Study) -> None:
    publish(reader)
    attributes = reader._storage.get_study_system_attrs(reader._study_id)
    plots = get_plotly_graph_objects(attributes)
    assert set(plots) == set(PLOTS)
    for plot in plots.values():
        title = json.loads(plot)["layout"]["title"]["text"]
        assert re.search(r"drawn at \d\d:\d\d:\d\d UTC, 4 trained trials", title)
    assert "holds 5%" in json.loads(plots["front"])["layout"]["title"]["text"]


def test_what_publishing_meets_is_said_once_and_ends_nothing(
    reader: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: optuna.Study) -> None:
        raise ValueError("no ink\nat all")

    monkeypatch.setattr(publishing, "publish", broken)
    said: list[str] = []
    publisher = Publisher(reader, said.append)
    publisher.publish()
    publisher.publish()
    assert said == ["the dashboard is not up to date: ValueError: no ink"]


def test_a_study_is_published_in_one_transaction(reader: optuna.Study) -> None:
    import sqlalchemy.event

    ledger = reader._storage
    assert isinstance(ledger, Ledger)
    commits: list[object] = []
    publish(reader)
    before = reader._storage.get_study_system_attrs(reader._study_id)
    sqlalchemy.event.listen(ledger._backend.engine, "commit", lambda _: commits.append(1))
    publish(reader)
    after = reader._storage.get_study_system_attrs(reader._study_id)
    assert before.keys() == after.keys()
    assert after["dashboard:note_ver"] == before["dashboard:note_ver"] + 1
    reading = sum(not key.startswith("dashboard:") for key in after)
    assert len(commits) < 20 + reading


def test_what_fails_midway_writes_nothing(reader: optuna.Study) -> None:
    ledger = reader._storage
    assert isinstance(ledger, Ledger)

    def interrupted() -> None:
        ledger.set_study_system_attr(reader._study_id, "half", 1)
        reader.enqueue_trial({})
        raise KeyboardInterrupt

    trials = len(reader.trials)
    with pytest.raises(KeyboardInterrupt):
        ledger.at_once(interrupted)
    assert len(reader.trials) == trials
    assert "half" not in ledger.get_study_system_attrs(reader._study_id)
    ledger.set_study_system_attr(reader._study_id, "whole", 1)
    assert ledger.get_study_system_attrs(reader._study_id)["whole"] == 1


def test_a_renamed_study_keeps_all_that_pages_do_not_show(
    finished: CommandLine, tmp_path: Path
) -> None:
    line = CommandLine(tmp_path)
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    database = open_storage(default_url(tmp_path / "runs"), create=False)
    before = records(load_study(database, None))
    with serving(line) as (_, said):
        url = said.split()[1].replace("/dashboard/studies/", "/api/studies/")
        with urllib.request.urlopen(url) as answer:
            shown = json.load(answer)
        assert not {"settings"} & {each["key"] for each in shown["user_attrs"]}
        columns = {each["key"]: each["sortable"] for each in shown["union_user_attrs"]}
        for name in ("params", "macs", "receptive_field_pixels", "sustained", "best_accuracy"):
            assert columns[name]
        assert "history" not in columns
        body = json.dumps({"study_name": "renamed"}).encode()
        asked = urllib.request.Request(
            f"{url}/rename", body, {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(asked).close()
    renamed = load_study(database, "renamed")
    assert [each.attributes for each in records(renamed)] == [each.attributes for each in before]
