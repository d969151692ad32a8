"""What feature maps need of memory, and where in one block of memory they can lie.

A network is run operation by operation. A map lives from the operation that makes it to the last
one that reads it, during both; an operation that works element by element writes over its first
input if nothing reads that later (never over the pixels, which belong to the caller).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from results.models.program import Op


class Step(Protocol):
    """Of a program of any kind; the pixels are map 0, step n (from 1) makes map n."""

    @property
    def op(self) -> object: ...

    @property
    def inputs(self) -> tuple[int, ...]: ...


@dataclass
class Buffer:
    """Memory for one map, or for several that follow in place: from operation to operation."""

    size: int
    first: int
    last: int

    def meets(self, other: "Buffer") -> bool:
        return self.first <= other.last and other.first <= self.last


def buffers(steps: Sequence[Step], sizes: Sequence[int]) -> list[Buffer]:
    """The buffer of every map, the pixels first; `sizes` are those of the maps."""
    last_use = {each: number for number, step in enumerate(steps, 1) for each in step.inputs}
    found = [Buffer(sizes[0], 0, last_use[0])]
    for number, (step, size) in enumerate(zip(steps, sizes[1:], strict=True), start=1):
        source = step.inputs[0]
        buffer = found[source]
        in_place = isinstance(step.op, Op) and step.op.in_place
        if in_place and source != 0 and last_use[source] == number and buffer.last == number:
            buffer.size = max(buffer.size, size)
        else:
            buffer = Buffer(size, number, number)
        buffer.last = last_use.get(number, number)
        found.append(buffer)
    return found


def peak(needed: Sequence[Buffer]) -> int:
    """The largest sum of the sizes of buffers that live at the same time."""
    unique = list({id(each): each for each in needed}.values())
    return max(
        sum(each.size for each in unique if each.first <= now <= each.last)
        for now in range(max(each.last for each in unique) + 1)
    )


def arrange(needed: Sequence[Buffer]) -> tuple[list[int], int]:
    """Where each buffer begins in one block of memory, and how large the block has to be.

    Each is placed as low as those allow that live at the same time, once the largest first
    (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020) and once
    the earliest first; the smaller block is taken. It can still be larger than the peak.
    """
    orders = (
        sorted(needed, key=lambda each: -each.size),
        sorted(needed, key=lambda each: each.first),
    )
    placed, size = min((_place(order) for order in orders), key=lambda found: found[1])
    return [placed[id(each)] for each in needed], size


def _place(order: Sequence[Buffer]) -> tuple[dict[int, int], int]:
    """Where each buffer begins, by its id, if they are placed in this order; and the block."""
    begins: dict[int, int] = {}
    placed: list[tuple[int, Buffer]] = []
    for buffer in order:
        if id(buffer) in begins:
            continue
        begin = 0
        for start, other in sorted(placed, key=lambda each: each[0]):
            if other.meets(buffer) and start < begin + buffer.size and begin < start + other.size:
                begin = start + other.size
        begins[id(buffer)] = begin
        placed.append((begin, buffer))
    return begins, max((begin + buffer.size for begin, buffer in placed), default=0)
