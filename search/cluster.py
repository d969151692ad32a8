"""A Ray cluster as the place of worker processes: actors that run the same loop, anywhere in it."""

import dataclasses
import logging
import math
import multiprocessing
import os
import queue
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from results.errors import NasSearchError
from search.data import DataSource, Digits, split_digits
from search.device import WORKERS_PER_GPU
from search.events import Event, TaskFailed
from search.interruption import held_back
from search.mark import this_process
from search.plan import MOST_AT_ONCE, Plan
from search.task import Task
from search.worker import Worker

ANSWER_SECONDS = 10.0
"""Of the machine that an address names."""

KILL_SECONDS = 5.0
"""In which an actor that was ended is said to be so. A cluster that is gone says nothing."""


@dataclass(frozen=True)
class Room:
    """What a cluster has in all, whoever uses it."""

    cpus: int
    gpus: int

    def device(self, names: str) -> str:
        """The device of each actor, as the actor sees it. Raises NasSearchError."""
        if names not in ("auto", "cpu", "cuda"):
            raise NasSearchError(
                f"--device {names}: with --ray write auto, cpu or cuda; Ray picks which GPU"
            )
        if names == "cuda" and not self.gpus:
            raise NasSearchError("--device cuda: the Ray cluster has no GPU")
        return "cpu" if names == "cpu" or not self.gpus else "cuda:0"

    def default_workers(self, device: str) -> int:
        """Some for each GPU, or one for each CPU."""
        return max(1, self.cpus if device == "cpu" else self.gpus * WORKERS_PER_GPU)

    def at_once(self, workers: int) -> int:
        """Trainings that share a GPU: more than by default only where more were asked for."""
        shared = math.ceil(workers / max(1, self.gpus))
        return min(MOST_AT_ONCE, max(WORKERS_PER_GPU, shared))


def connect(address: str) -> Room:
    """Joins the cluster for the rest of this process. Raises NasSearchError.

    `address`: as `ray.init` takes it. Called from the main thread.
    """
    try:
        import ray
    except ImportError:
        raise NasSearchError(
            "--ray needs Ray: pip install '.[ray]' in the folder of nas-search"
        ) from None
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    _refuse_if_silent(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        found = ray.cluster_resources()
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = " ".join(dict.fromkeys((lines[0].strip(), lines[-1].strip())))
        raise NasSearchError(
            f"--ray {address}: {reason} (auto or host:port on a machine of the cluster, "
            f"ray://host:10001 from elsewhere; with the same versions of Python and Ray)"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray takes it for itself
    return Room(cpus=int(found.get("CPU", 0)), gpus=int(found.get("GPU", 0)))


def _refuse_if_silent(address: str) -> None:
    """Raises NasSearchError if no Ray answers there: Ray itself would try for ever.

    Of ray:// only that something listens: there Ray gives up by itself.
    """
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        if not address:
            raise ValueError("no address")  # for Ray, the wish for a cluster of its own
        if parts.hostname is None or parts.port is None:
            return  # a name, which Ray knows or refuses at once
        where = (parts.hostname, parts.port)
        socket.create_connection(where, ANSWER_SECONDS).close()
        is_plain = not parts.scheme and os.environ.get("RAY_USE_TLS", "0") == "0"
        if is_plain and not _speaks_grpc(*where):
            raise OSError("what answers there is no Ray")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NasSearchError(
            f"--ray {address} can't be reached: {reason}; start the cluster (ray start --head), or "
            f"mend the address"
        ) from None


def _speaks_grpc(host: str, port: int) -> bool:
    """Whether what listens there speaks Ray's protocol, without encryption."""
    import grpc

    name = f"[{host}]" if ":" in host else host
    with grpc.insecure_channel(f"{name}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        return True


@dataclass(frozen=True)
class ShippedDigits(DataSource):
    """Digits in the cluster's object store: the machine that loads them needs no file.

    Processes of one machine share their pixels, as they share those of a file.
    """

    arrays: Any = None
    """Ray's reference to them."""

    @classmethod
    def of(cls, source: DataSource) -> "ShippedDigits":
        import ray

        digits = source.load()
        parts = (digits.all_training, digits.test)
        arrays = [array.numpy() for each in parts for array in (each.images, each.labels)]
        held_out = len(digits.validation)
        return cls(source.name, source.folder, ray.put((arrays, held_out)))

    def load(self, device: str = "cpu") -> Digits:
        import ray
        import torch

        arrays, held_out = ray.get(self.arrays)
        # They can't be written to, of which torch warns, and nothing does.
        pixels = [torch.from_numpy(array) for array in arrays]
        return split_digits(*pixels, validation_size=held_out).to(device)


class RayCluster:
    """The workplace of a run with `--ray`; `connect` was called before."""

    def __init__(self, plan: Plan) -> None:
        self.ended: set[str] = set()
        data = ShippedDigits.of(plan.data) if plan.data.folder else plan.data
        # A relative folder would be one of Ray's on each machine.
        self._changes: dict[str, Any] = {"data": data, "out": plan.out.absolute()}

    def start(self, plan: Plan, device: str, places: int) -> "RayProcess":
        return RayProcess(dataclasses.replace(plan, **self._changes), device, places, self.ended)


class RayProcess:
    """An actor, which runs as soon as the cluster has room for it, and a thread that hears it."""

    def __init__(self, plan: Plan, device: str, places: int, ended: set[str]) -> None:
        import ray

        share = 0.0 if device == "cpu" else places / plan.at_once
        # Lost, it is replaced by its crew, which first hands back what it had begun.
        options = {
            "num_cpus": 1,
            "num_gpus": math.floor(share * 10_000) / 10_000,  # as exactly as Ray counts
            "max_restarts": 0,
            "max_concurrency": 8,
            "scheduling_strategy": "SPREAD",
        }
        actor: Any = ray.remote(WorkerActor)
        self._actor = actor.options(**options).remote(plan, device, places)
        self._ended = ended
        self._reason = "an unknown end"
        self._was_asked = False
        self._killed = time.monotonic()
        ours, self._told = multiprocessing.Pipe(duplex=False)
        self.fileno, self.recv = ours.fileno, ours.recv
        self._thread = threading.Thread(target=self._listen, daemon=True)
        with held_back():  # the main thread is to get signals
            self._thread.start()

    def send(self, task: Task) -> None:
        self._actor.give.remote(task)

    def kill(self) -> None:
        import ray

        self._killed = time.monotonic()
        with suppress(Exception):  # it is gone, or the cluster is
            ray.kill(self._actor)

    def join(self) -> None:
        self._thread.join(max(0.0, self._killed + KILL_SECONDS - time.monotonic()))

    @property
    def was_asked(self) -> bool:
        """Whether its machine left the cluster."""
        return self._was_asked

    @property
    def ending(self) -> str:
        return self._reason

    def _listen(self) -> None:
        """Passes on what the actor tells until it is gone."""
        import ray

        mark = None
        try:
            mark, node = ray.get(self._actor.introduce.remote())
            while True:
                for event in ray.get(self._actor.events.remote()):
                    self._told.send(event)
        except Exception as error:
            # One that can't be reached for a moment may have told what was lost on the way.
            self.kill()
            self._reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
            if mark is not None:
                self._was_asked = _has_left(node)
                self._ended.add(mark)
            elif getattr(error, "actor_init_failed", False):
                self._told.send(
                    TaskFailed(
                        f"nas-search can't run on a machine of the Ray cluster: install the same "
                        f"version on each ({self._reason})"
                    )
                )
        finally:
            self._told.close()


def _has_left(node: str) -> bool:
    import ray

    try:
        return not any(each["NodeID"] == node and each["Alive"] for each in ray.nodes())
    except Exception:  # the cluster is gone
        return True


class WorkerActor:
    """What runs in the cluster: the loop of every worker process, told and heard by calls."""

    def __init__(self, plan: Plan, device: str, places: int) -> None:
        self._connection = _Queues()
        worker = Worker(plan, device, places, self._connection)
        threading.Thread(target=worker.work, daemon=True).start()

    def introduce(self) -> tuple[str, str]:
        """The mark of this process, and Ray's name of its machine."""
        import ray

        return this_process(), ray.get_runtime_context().get_node_id()

    def give(self, task: Task) -> None:
        self._connection.tasks.put(task)

    def events(self) -> list[Event]:
        """What was told since the last call, once there is any."""
        told = self._connection.told
        found = [told.get()]
        with suppress(queue.Empty):
            while True:
                found.append(told.get_nowait())
        return found


class _Queues:
    """The worker's connection to the calls of its actor."""

    def __init__(self) -> None:
        self.tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.recv, self.send = self.tasks.get, self.told.put
