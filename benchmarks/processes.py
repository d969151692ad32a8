"""Processes that stay for the whole benchmark, and end with the one that started them."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
WAIT_SECONDS = 600

_barriers: dict[int, Barrier] = {}
"""Where a process waits for as many, itself among them."""


@contextmanager
def processes(size: int, threads: int | None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `size` processes of `threads` threads each (None: as many as torch takes)."""
    context = multiprocessing.get_context("spawn")
    barriers = {count: context.Barrier(count) for count in range(1, size + 1)}
    pool = ProcessPoolExecutor(
        size, mp_context=context, initializer=_begin, initargs=(threads, barriers)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def at_once(
    pool: ProcessPoolExecutor,
    work: Callable[Arguments, Result],
    count: int,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> list[Result]:
    """What `work` returns in each of `count` processes; there it must use `meeting(count)`.

    None ends before all have met, so no process gets the work twice.
    """
    futures = [pool.submit(work, *args, **kwargs) for _ in range(count)]
    # In the order of their ends: the first that fails is the cause, the others waited for it.
    return [future.result() for future in as_completed(futures)]


@contextmanager
def meeting(count: int) -> Iterator[Callable[[], None]]:
    """Gives what waits until `count` processes have called it; one that fails lets all fail."""
    barrier = _barriers[count]

    def meet() -> None:
        barrier.wait(WAIT_SECONDS)

    try:
        yield meet
    except BaseException:
        barrier.abort()
        raise


def _begin(threads: int | None, barriers: dict[int, Barrier]) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends all of them, without a word
    _barriers.update(barriers)
    if threads is not None:
        torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def end_with_parent() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
