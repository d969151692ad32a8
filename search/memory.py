"""Memory of a process: what it freed it keeps, and how it says that there is none left."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Of glibc's `mallopt`, from its <malloc.h>."""


def keep_freed_memory() -> None:
    """Keeps the C library from giving memory back to the system, as a training step asks for the
    same sizes again and again. Without glibc nothing happens.

    By default every feature map above 128 KiB may be unmapped and mapped again, page by page: 700
    page faults a step of the published net 1.3 (batch 64), none after this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_MMAP_THRESHOLD, 1 << 25)  # the most it takes
        mallopt(_TOP_PAD, 1 << 26)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of a GPU, was asked for and could not be had."""
    from torch import OutOfMemoryError

    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        each in str(error)
        for each in ("can't allocate memory", "not enough memory", "ALLOC_FAILED")
    )
