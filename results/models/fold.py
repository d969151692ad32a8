"""Folding: BatchNorms that are multiplied into convolutions. Exact, in float64.

A factor and shift right after a convolution goes into it. One after a ReLU goes on, through
pooling, into the next convolution, where that is the same function:

- a mean commutes with factors and shifts, a maximum only with factors that are not negative;
- a convolution that pads with zeros takes no shift, as its padding comes after the shift;
- a map that is used twice (residual additions) keeps its values;
- weights that are applied several times, each time with another BatchNorm, stay shared.

What cannot be folded stays as a factor and a shift.
"""

from collections import Counter
from dataclasses import dataclass, replace

import torch

from results.models.program import Add, Conv, Op, Pool, Program, Scale, Step


@dataclass(frozen=True)
class Folded:
    """`kept`: why a factor and shift could not be folded, by its name."""

    program: Program
    kept: dict[str, str]


def fold(program: Program) -> Folded:
    """The same function with as few factors and shifts as can be."""
    steps = list(program.steps)
    kept: dict[str, str] = {}
    number = 1
    while number <= len(steps):
        op = steps[number - 1].op
        if isinstance(op, Scale):
            try:
                _fold_one(steps, number, op)
            except _Stays as reason:
                kept[op.name] = str(reason)
            else:
                number, kept = 1, {}
                continue
        number += 1
    return Folded(replace(program, steps=tuple(steps)), kept)


class _Stays(Exception):  # noqa: N818
    """Why a factor and shift stays where it is."""


def _fold_one(steps: list[Step], number: int, scale: Scale) -> None:
    """Folds the factor and shift that makes map `number`, or moves it on. Raises _Stays."""
    before = steps[number - 1].inputs[0]
    uses = Counter(each for step in steps for each in step.inputs)
    shared = Counter(id(step.op) for step in steps)
    producer = steps[before - 1].op if before else None
    if isinstance(producer, Conv) and uses[before] == 1 and shared[id(producer)] == 1:
        _replace(steps, before, _scaled_after(producer, scale))
        _remove(steps, number)
        return
    if uses[number] > 1:
        raise _Stays("its map is used twice")
    after = next(n for n, step in enumerate(steps, start=1) if number in step.inputs)
    consumer = steps[after - 1].op
    if isinstance(consumer, Add):
        raise _Stays("a residual is added to its map")
    if isinstance(consumer, Conv):
        if shared[id(consumer)] > 1:
            raise _Stays("the next convolution is applied several times")
        if consumer.padding and bool(scale.shift.any()):
            raise _Stays("the next convolution pads with zeros")
        _replace(steps, after, _scaled_before(consumer, scale))
        _remove(steps, number)
    elif isinstance(consumer, Pool):
        if consumer.kind == "max" and bool((scale.factor < 0).any()):
            raise _Stays("it has negative factors before a maximum")
        _replace(steps, number, consumer)
        _replace(steps, after, scale)
    elif isinstance(consumer, Scale):
        _replace(steps, after, _composed(scale, consumer))
        _remove(steps, number)
    else:
        raise _Stays("a ReLU follows, and its convolution is applied several times")


def _scaled_after(conv: Conv, scale: Scale) -> Conv:
    bias = torch.zeros(len(conv.weight)).double() if conv.bias is None else conv.bias
    factor = scale.factor.expand(len(conv.weight))
    return replace(
        conv, weight=conv.weight * factor.view(-1, 1, 1, 1), bias=bias * factor + scale.shift
    )


def _scaled_before(conv: Conv, scale: Scale) -> Conv:
    # Weight (out, in / groups, ...): channel i of output o is input channel
    # i + in / groups * (group of o).
    outputs, per_group = conv.weight.shape[:2]
    channels = per_group * conv.groups
    factor, shift = (
        each.expand(channels)
        .view(conv.groups, 1, per_group)
        .expand(-1, outputs // conv.groups, -1)
        .reshape(outputs, per_group, 1, 1)
        for each in (scale.factor, scale.shift)
    )
    bias = torch.zeros(outputs).double() if conv.bias is None else conv.bias
    shifted = bias + (conv.weight * shift).sum((1, 2, 3))
    return replace(
        conv,
        weight=conv.weight * factor,
        bias=shifted if conv.bias is not None or bool(scale.shift.any()) else None,
    )


def _composed(first: Scale, second: Scale) -> Scale:
    return Scale(
        first.factor * second.factor,
        first.shift * second.factor + second.shift,
        f"{first.name} and {second.name}",
    )


def _replace(steps: list[Step], number: int, op: Op) -> None:
    steps[number - 1] = replace(steps[number - 1], op=op)


def _remove(steps: list[Step], number: int) -> None:
    """Takes out the step that makes map `number`; who used it uses its input."""
    source = steps.pop(number - 1).inputs[0]

    def renumbered(each: int) -> int:
        return source if each == number else each - (each > number)

    steps[:] = [replace(step, inputs=tuple(map(renumbered, step.inputs))) for step in steps]
