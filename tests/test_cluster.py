"""A search in a Ray cluster of two machines, which are two nodes on this one."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from results.errors import NasSearchError
from results.record import TrialRecord, records
from results.storage import load_study, open_storage
from search import cluster as cluster_module
from search import crew as module
from search.cluster import RayCluster, RayProcess, Room, ShippedDigits, WorkerActor, connect
from search.crew import Crew
from search.data import DataSource
from search.events import Event, Joined, TaskFailed
from search.mark import this_process
from search.options import make_plan as plan_of_options
from search.plan import Plan
from search.study import DeadTrials, make_or_resume
from search.task import SearchTask
from tests.conftest import SMALL_SEARCH, CommandLine
from tests.plans import make_plan

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two machines with a CPU each, which this process has joined."""
    ray = pytest.importorskip("ray", reason="needs pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        cluster.add_node(**NODE, num_gpus=1)  # Ray takes it at its word
        connect(cluster.address)
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def _running(url: str) -> list[TrialRecord]:
    """The trials of the one study of a storage that are being trained; none while there is none."""
    try:
        study = load_study(open_storage(url, create=False), None)
    except NasSearchError:
        return []
    drawn = [each for each in records(study) if "seed" in each.attributes]
    return [each for each in drawn if each.state == "running"]


def test_killed_actor_is_replaced_and_the_count_ends_exact(
    address: str, postgres_url: str, nas_search: CommandLine
) -> None:
    search = nas_search.start(
        *("--ray", address, "--storage", postgres_url, "--study", "small", "--trials", "4"),
        *("--workers", "3"),  # the third finds no room
        *("--finalists", "1", "--confirm-seeds", "1", *SMALL_SEARCH),
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (running := _running(postgres_url)):
            assert search.poll() is None, search.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _host, killed, _started = running[0].attributes["worker"].rsplit("/", 2)
        os.kill(int(killed), signal.SIGKILL)
        _, said = search.communicate(timeout=WAIT_SECONDS)
    finally:
        search.kill()
    assert search.returncode == 0, said
    assert "weights stay on the machines" in said
    trials = records(load_study(open_storage(postgres_url, create=False), "small"))
    assert sum(each.was_trained for each in trials) == 4
    cut_off = [each.number for each in trials if each.state == "cut off"]
    assert cut_off == [running[0].number]
    assert {each.attributes.get("retry_of") for each in trials} >= set(cut_off)
    assert not any(each.state in ("running", "waiting") for each in trials)


def _hear(process: RayProcess) -> Event:
    from multiprocessing.connection import wait

    assert wait([process], WAIT_SECONDS)  # type: ignore[list-item]
    return process.recv()


def _free_gpus() -> float:
    import ray

    return float(ray.available_resources().get("GPU", 0.0))


def test_actor_takes_its_share_of_a_gpu_and_is_known_by_its_mark_when_it_is_gone(
    address: str,
) -> None:
    plan = make_plan(Plan, at_once=8)
    cluster = RayCluster(plan)
    process = cluster.start(plan, "cuda:0", 2)
    assert _hear(process) == Joined()
    assert cluster.ended == set()
    deadline = time.monotonic() + WAIT_SECONDS
    while _free_gpus() != 0.75:
        assert time.monotonic() < deadline, _free_gpus()
        time.sleep(0.1)
    process.kill()
    with pytest.raises(EOFError):
        _hear(process)
    process.join()
    (mark,) = cluster.ended
    assert mark.rsplit("/", 2)[0] == this_process().rsplit("/", 2)[0]
    assert not process.was_asked


def test_actor_that_can_not_begin_says_why(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(WorkerActor):
        def __init__(self, *_: object) -> None:
            raise ModuleNotFoundError("No module named 'space'")

    monkeypatch.setattr("search.cluster.WorkerActor", Foreign)
    process = RayCluster(make_plan(Plan)).start(make_plan(Plan), "cpu", 1)
    told = _hear(process)
    assert isinstance(told, TaskFailed)
    assert "install the same version on each" in told.message
    assert "No module named 'space'" in told.message
    assert "\n" not in told.message


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_shipped_digits_are_the_digits(address: str) -> None:
    source = DataSource("mnist-sample")
    shipped, digits = ShippedDigits.of(source).load(), source.load()
    for name in ("train", "validation", "all_training", "test"):
        ours, theirs = getattr(shipped, name), getattr(digits, name)
        for part in ("images", "labels", "indices"):
            assert getattr(ours, part).equal(getattr(theirs, part))


class Away:
    """Stands for a process that the cluster has no room for."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def fileno(self) -> int:
        return self._reading

    def kill(self) -> None:
        os.close(self._writing)

    def join(self) -> None:
        os.close(self._reading)


class Full:
    """A workplace without room."""

    ended = frozenset[str]()

    def start(self, *_: object) -> Any:
        return Away()


def test_cluster_without_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOIN_SECONDS", 0.1)
    dead: Any = None  # nothing was begun, so nothing is handed back
    with (
        pytest.raises(NasSearchError, match="no worker process has started"),
        Crew(make_plan(Plan), dead, workplace=Full()) as crew,
    ):
        list(crew.work([SearchTask()]))


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_trial_of_a_process_that_is_known_to_be_gone_is_handed_back_at_once(
    tmp_path: Path,
) -> None:
    plan = make_plan(Plan, storage=f"sqlite:///{tmp_path}/a.db", out=tmp_path)
    study = make_or_resume(open_storage(plan.storage, create=True), plan, baselines=True)
    trial = study.ask()
    trial.set_user_attr("worker", "elsewhere/1/1.00")
    DeadTrials(study).hand_back()
    assert records(study)[trial.number].state == "running"
    DeadTrials(study, {"elsewhere/1/1.00"}).hand_back()
    assert records(study)[trial.number].state == "cut off"
    assert records(study)[-1].attributes["retry_of"] == trial.number


@pytest.mark.parametrize(
    ("gpus", "workers", "processes"),
    [
        (0, 3, (("cpu", 1), ("cpu", 1), ("cpu", 1))),
        (2, 16, (("cuda:0", 8), ("cuda:0", 8))),
        (4, 10, (("cuda:0", 8), ("cuda:0", 2))),
        (1, 12, (("cuda:0", 12),)),
        (2, 80, (("cuda:0", 32), ("cuda:0", 32), ("cuda:0", 16))),
    ],
)
def test_workers_share_the_gpus_of_the_cluster(
    gpus: int, workers: int, processes: tuple[tuple[str, int], ...]
) -> None:
    room = Room(cpus=4, gpus=gpus)
    plan = make_plan(
        Plan, devices=(room.device("auto"),), workers=workers, at_once=room.at_once(workers)
    )
    assert plan.processes == processes


def test_room_says_what_it_has() -> None:
    assert Room(cpus=6, gpus=0).default_workers("cpu") == 6
    assert Room(cpus=6, gpus=2).default_workers("cuda:0") == 16
    assert Room(cpus=6, gpus=2).device("cpu") == "cpu"
    with pytest.raises(NasSearchError, match="no GPU"):
        Room(cpus=6, gpus=0).device("cuda")
    with pytest.raises(NasSearchError, match="auto, cpu or cuda"):
        Room(cpus=6, gpus=2).device("cuda:1")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere:x", ""])
def test_cluster_that_is_not_there_is_said_in_one_line(address: str) -> None:
    pytest.importorskip("ray", reason="needs pip install '.[ray]'")
    with pytest.raises(NasSearchError, match="--ray") as raised:
        connect(address)
    assert "\n" not in str(raised.value)


def test_what_answers_and_is_no_cluster_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs pip install '.[ray]'")
    monkeypatch.setattr(cluster_module, "ANSWER_SECONDS", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(NasSearchError, match="is no Ray"),
    ):
        connect(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("storage", [None, "sqlite:///runs/a.db"])
def test_cluster_needs_a_server(storage: str | None, tmp_path: Path) -> None:
    made = make_plan(Plan)
    with pytest.raises(NasSearchError, match="needs a database server"):
        plan_of_options(
            made.settings,
            made.data,
            default_name="a",
            study=None,
            storage=storage,
            out=tmp_path,
            device="auto",
            workers=None,
            precision="auto",
            artifacts=None,
            ray="auto",
        )


def test_missing_ray_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NasSearchError, match=r"pip install '\.\[ray\]'"):
        connect("auto")
