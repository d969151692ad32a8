"""Ctrl-C, SIGTERM from a scheduler, a terminal that is closed: a command stops in good order, and
soon in any case."""

import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE_SECONDS = 8.0
"""What an orderly stop may take. Schedulers send SIGKILL some time after SIGTERM, often 10 s."""

RETRY_SECONDS = 0.05
"""After which a signal whose exception was lost in a library is raised again."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a command that was interrupted, whatever by: see `Interruption.exit_code`."""

STOPPED = "stopped; all that was stored is kept, and the same command goes on from there"


class Interruption:
    """From `install` on the first signal raises KeyboardInterrupt in the main thread; what comes
    later does not disturb what that leads to.

    A process that has not ended `PATIENCE_SECONDS` after the first signal is ended, by a thread:
    Python may be waiting for a long call to return, or the exception may be lost in a library.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._received: int | None = None

    def install(self) -> None:
        """Signals that whoever started this process wants to be ignored (`nohup`) stay so."""
        for each in SIGNALS:
            if signal.getsignal(each) != signal.SIG_IGN:
                signal.signal(each, self._interrupt)
        sys.unraisablehook = self._lost
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
        with held_back():  # the main thread is to get them
            threading.Thread(target=self._watch, args=(ours,), daemon=True).start()

    def exit_code(self, code: int) -> int:
        """The one of the signal, 128 and its number, in the place of the one for any of them."""
        return self._received + 128 if code == INTERRUPTED and self._received else code

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        if self._received is None:
            self._received = number
            if number == signal.SIGHUP:
                _leave_terminal()
            raise KeyboardInterrupt

    def _lost(self, error: "sys.UnraisableHookArgs") -> None:
        """What was raised where nothing can be, in a callback of a library say: that of a signal is
        raised once more, soon."""
        if error.exc_type is KeyboardInterrupt and self._received is not None:
            again, self._received = self._received, None
            threading.Timer(RETRY_SECONDS, os.kill, (os.getpid(), again)).start()
        else:
            sys.__unraisablehook__(error)

    def _watch(self, signals: socket.socket) -> None:
        number = signals.recv(1)[0]
        while number not in SIGNALS:
            number = signals.recv(1)[0]
        time.sleep(PATIENCE_SECONDS)
        self._say(STOPPED)
        os._exit(128 + number)


def _leave_terminal() -> None:
    """What is said to one that is gone would be an error, and keep from ending in good order."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        try:
            lasts = stat.S_ISREG(os.fstat(stream).st_mode)  # a log
        except OSError:
            lasts = False
        if not lasts:
            os.dup2(nowhere, stream)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that arrive within are delivered at the end. Processes and threads that are started
    within never get them, unless they ask for it."""
    resource_tracker.ensure_running()  # where it is started it lets them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
