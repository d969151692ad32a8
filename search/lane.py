"""Where the work of one training runs, and how work that repeats is launched.

A network of a few thousand parameters leaves a GPU idle: a step is some hundred kernels of a few
microseconds each, and launching one takes longer than running it. So the work of several steps is
captured once as a CUDA graph and launched as one; and several trainings run at once, each on a
stream of its own. A CPU runs the same work call by call.

Considered: one process per training (processes take turns on a GPU, streams do not), and fusing
several trainings into wider kernels (only networks of the same shape can be fused).
"""

import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch

from search.memory import is_out_of_memory

Work = Callable[[], None]


class Launch(Protocol):
    """Captured work: calling it runs the work."""

    def __call__(self) -> None: ...

    def release(self) -> None:
        """Gives back what it holds; it is not called any more."""


class CaptureError(Exception):
    """The work can't be captured; it can still run call by call."""


class Lane:
    """A place to run one training at a time: on a CPU, simply here and now."""

    captures = False
    """Whether repeated work is worth capturing here."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def active(self) -> AbstractContextManager[Any]:
        """A context in which what this thread asks torch for runs on this lane."""
        return nullcontext()

    def capture(self, work: Work, generator: torch.Generator) -> Launch:
        """What runs `work` again in one launch, with fresh draws of `generator` each time.

        Does not run it. `work` must have run once, must read and write tensors that stay where they
        are, and must not wait for the device. Raises CaptureError; and what torch raises where
        memory runs out.
        """
        raise CaptureError(f"{self.device.type} has no graphs")

    def without_captures(self) -> "Lane":
        """The same lane, on which nothing is captured."""
        return self

    def mark(self) -> Any:
        """A moment in the order of this lane's work, for `seconds_between`."""
        return time.perf_counter()

    def seconds_between(self, first: Any, second: Any) -> float:
        """Seconds from one mark to a later one; the work up to the later one must be done."""
        return float(second - first)


class EagerCudaLane(Lane):
    """A stream of a GPU on which every kernel is launched by itself.

    A new one if none is given: torch has `MOST_AT_ONCE` and gives them out in turn.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream | None = None) -> None:
        super().__init__(device)
        self._stream = stream or torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # What was put on the device so far, the data above all, was put there by another stream.
        self._stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def active(self) -> Iterator[None]:
        with torch.cuda.stream(self._stream), torch.autograd.set_multithreading_enabled(False):
            # One thread per device runs everyone's backward passes otherwise.
            yield

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event

    def seconds_between(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float:
        return float(first.elapsed_time(second)) / 1_000


class CudaLane(EagerCudaLane):
    """A stream of a GPU that captures work as CUDA graphs.

    All graphs of a lane share one pool of memory, so what a training leaves behind the next one
    uses: a lane takes as much as its largest training. That is safe because graphs of one lane
    never run at once, and none runs after a later training has begun to capture.
    """

    captures = True

    _anchor: "CudaGraph | None" = None

    def without_captures(self) -> Lane:
        return EagerCudaLane(self.device, self._stream)

    def capture(self, work: Work, generator: torch.Generator) -> Launch:
        if self._anchor is None:  # a pool lives as long as a graph that uses it: this one is kept
            nothing = torch.zeros(1, device=self.device)
            self._anchor = CudaGraph(lambda: nothing.add_(1))
        try:
            return CudaGraph(work, generator, self._anchor.pool)
        except Exception:
            self._anchor = None  # before torch 2.13 a broken capture leaves its pool unusable
            raise


class CudaGraph:
    """Work captured on the current stream. Raises CaptureError if it can't be, and what torch
    raises where memory runs out.

    One at a time in a process is captured, launched or released: torch allows one capture at a
    time, and registers the global generator of the device with every graph, which refuses to be
    launched while another is being captured. torch.cuda.graph is not used since it waits for all
    streams of the device.
    """

    _alone = threading.Lock()

    def __init__(
        self,
        work: Callable[[], object],
        generator: torch.Generator | None = None,
        pool: Any = None,
    ) -> None:
        self._graph = torch.cuda.CUDAGraph()
        with self._alone:
            try:
                if generator is not None:
                    self._graph.register_generator_state(generator)
                # Other threads may allocate meanwhile: only this one's calls are restricted.
                self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    work()
                finally:
                    self._graph.capture_end()
            except Exception as error:
                cause = error.__context__ or error  # ending a broken capture raises once more
                if is_out_of_memory(cause):
                    raise cause from None
                raise CaptureError(f"{type(cause).__name__}: {cause}".splitlines()[0]) from error
        self.pool = self._graph.pool()

    def __call__(self) -> None:
        with self._alone:
            self._graph.replay()

    def release(self) -> None:
        with self._alone:
            self._graph.reset()


def make_lane(device: torch.device | str) -> Lane:
    """A new lane on a device. On a GPU, those in use must be no more than `MOST_AT_ONCE`."""
    device = torch.device(device)
    return CudaLane(device) if device.type == "cuda" else Lane(device)


def free_memory(device: str) -> None:
    """Gives back what trainings that have ended on a device left behind."""
    gc.collect()
    if torch.device(device).type == "cuda":
        with CudaGraph._alone:
            torch.cuda.empty_cache()


def _forgotten() -> None:
    raise RuntimeError("this work was forgotten")


class Repeated:
    """Work that is repeated unchanged, `at_once` times a launch where the lane captures.

    The first of them run call by call, since what allocates or chooses on first use does so then;
    whatever is captured is captured right after.
    """

    def __init__(
        self, work: Work, lane: Lane, generator: torch.Generator, *, at_once: int = 1
    ) -> None:
        self._work, self._lane, self._generator = work, lane, generator
        self._at_once = at_once
        self._launches: dict[int, Launch] = {}
        self._capture_seconds = 0.0

    def run(self, times: int = 1) -> None:
        """Runs the work so many times, the same number on every call.

        Raises CaptureError, on the first call only.
        """
        full, rest = divmod(times, self._at_once)
        counts = [self._at_once] * full + [rest] * (rest > 0)
        if self._lane.captures and not self._launches:
            different = set(counts)
            self._call(counts.pop(0))
            self._capture(different)
        for count in counts:
            launch = self._launches.get(count)
            if launch is None:
                self._call(count)
            else:
                launch()

    def take_capture_seconds(self) -> float:
        """Seconds that captures took since this was last asked."""
        taken, self._capture_seconds = self._capture_seconds, 0.0
        return taken

    def forget(self) -> None:
        """Gives back what was captured, and lets go of the work: it can't be run any more."""
        while self._launches:
            self._launches.popitem()[1].release()
        self._work = _forgotten

    def _capture(self, counts: set[int]) -> None:
        started = time.perf_counter()
        self._launches = {
            count: self._lane.capture(functools.partial(self._call, count), self._generator)
            for count in sorted(counts)
        }
        self._capture_seconds += time.perf_counter() - started

    def _call(self, count: int) -> None:
        for _ in range(count):
            self._work()
