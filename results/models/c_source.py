"""A quantised network as one C99 header without dependencies, for microcontrollers."""

import math
from collections.abc import Iterable, Sequence

from results.models.memory import arrange, buffers
from results.models.program import Add, Scale
from results.models.quantised import IntegerConv, IntegerProgram, IntegerStep
from space.views import MOVES


def static_bytes(program: IntegerProgram) -> int:
    """The size of the static memory of the header, in bytes: its feature maps and a moved view."""
    return _places(program)[1] + (math.prod(program.input_shape) if program.views > 1 else 0)


def constant_bytes(program: IntegerProgram) -> int:
    """The size of the constants of the header, in bytes."""
    return _written(program).constant_bytes + (2 * program.views if program.views > 1 else 0)


def c_header(program: IntegerProgram, about: Sequence[str]) -> str:
    """The header; `about` are lines of plain text that tell where it comes from.

    It computes what `program` computes, bit by bit.
    """
    writer = _written(program)
    pixels, classes = math.prod(program.input_shape), program.shapes[-1][0]
    memory = (
        f"Static memory: {static_bytes(program):,} bytes; "
        f"constants: {constant_bytes(program):,} bytes."
    )
    lines = [*about, memory, *_USAGE.splitlines()]
    comment = "\n".join(f" * {line}".rstrip() for line in lines)
    return "\n".join(
        [
            "/*",
            comment.replace("*/", "* /").replace("/*\n", "/ *\n"),
            " */",
            "#ifndef NAS_SEARCH_MODEL_H",
            "#define NAS_SEARCH_MODEL_H",
            "",
            "#include <stdint.h>",
            "",
            f"#define NAS_SEARCH_PIXELS {pixels}",
            f"#define NAS_SEARCH_CLASSES {classes}",
            "#define NAS_SEARCH_LOGIT_ONE 65536",
            "",
            *writer.tables,
            "",
            f"static uint8_t nas_search_memory[{max(1, writer.memory)}];",
            "",
            _PUT,
            *(text for name, text in _KERNELS.items() if name in writer.kernels),
            _LOGITS_BEGIN.format(name="logits" if program.views == 1 else "view_logits"),
            *writer.calls,
            "}",
            "",
            *([] if program.views == 1 else [_views(program)]),
            _PREDICT,
            "#endif",
            "",
        ]
    )


_USAGE = """
Include it in one source file only: each that includes it has these constants and this memory anew.

    #include "model.h"
    int digit = nas_search_predict(pixels);

pixels: NAS_SEARCH_PIXELS bytes, row by row, 0 for background to 255 for ink.
nas_search_logits gives a score for each class, in 1 / NAS_SEARCH_LOGIT_ONE; the highest names the
digit. Both use nas_search_memory: do not call them from two threads at once."""


def _places(program: IntegerProgram) -> tuple[list[int], int]:
    """Where each map begins in the static memory, and its size; pixels and logits are outside."""
    sizes = [math.prod(shape) for shape in program.shapes]
    return arrange(buffers(program.steps, [0, *sizes[1:-1], 0]))


def _written(program: IntegerProgram) -> "_Writer":
    writer = _Writer(program)
    for number, step in enumerate(program.steps, start=1):
        writer.add(number, step)
    return writer


class _Writer:
    """Collects tables of constants, the kernels that are used, and their calls."""

    def __init__(self, program: IntegerProgram) -> None:
        self._shapes, self._grids = program.shapes, program.grids
        self._places, self.memory = _places(program)
        self.tables: list[str] = []
        self.constant_bytes = 0
        self.kernels: set[str] = set()
        self.calls: list[str] = []
        self._names: dict[int, str] = {}

    def add(self, number: int, step: IntegerStep) -> None:
        op = step.op
        source = step.inputs[0]
        shape, zero = self._shapes[source], self._grids[source].zero_point
        arguments: list[object]
        if isinstance(op, IntegerConv):
            kernel = "conv"
            arguments = [
                *shape, zero, *step.shape,
                self._weights(op), *op.weight.shape[2:], op.stride, op.padding, op.groups,
                *self._per_channel(number, step),
            ]  # fmt: skip
        elif isinstance(op, Scale):
            kernel = "scale"
            arguments = [shape[0], shape[1] * shape[2], zero, *self._per_channel(number, step)]
        elif isinstance(op, Add):
            kernel = "add"
            other = step.inputs[1]
            arguments = [
                math.prod(shape), zero, self._input(other), self._grids[other].zero_point,
                *self._common(step),
            ]  # fmt: skip
        else:
            kernel = f"{op.kind}_pool"
            arguments = [*shape, *step.shape[1:], *op.window, op.stride]
            if op.kind == "average":
                arguments += [zero, *self._common(step)]
        is_last = number == len(self._shapes) - 1
        output = "0, logits" if is_last else f"{self._map(number)}, 0"
        if kernel == "max_pool":
            output = self._map(number)
        self.kernels.add(kernel)
        listed = ", ".join(str(each) for each in arguments)
        self.calls.append(f"    nas_search_{kernel}({self._input(source)}, {output}, {listed});")

    def _input(self, number: int) -> str:
        return self._map(number) if number else "pixels"

    def _map(self, number: int) -> str:
        return f"nas_search_memory + {self._places[number]}"

    def _weights(self, op: IntegerConv) -> str:
        if id(op.weight) not in self._names:
            name = f"nas_search_weight{len(self._names) + 1}"
            self._names[id(op.weight)] = name
            self.constant_bytes += op.weight.numel()
            self.tables.append(_table("int8_t", name, op.weight.flatten().tolist()))
        return self._names[id(op.weight)]

    def _per_channel(self, number: int, step: IntegerStep) -> list[object]:
        requantisation = step.requantisation
        assert requantisation is not None
        channels = step.shape[0]
        multiplier = requantisation.multiplier[0].expand(channels).tolist()
        offset = requantisation.offset.expand(channels).tolist()
        self.constant_bytes += (4 + 8) * channels
        names = f"nas_search_multiplier{number}", f"nas_search_offset{number}"
        self.tables.append(_table("int32_t", names[0], multiplier))
        self.tables.append(_table("int64_t", names[1], (f"INT64_C({each})" for each in offset)))
        return [*names, requantisation.shift]

    def _common(self, step: IntegerStep) -> list[object]:
        requantisation = step.requantisation
        assert requantisation is not None
        return [
            *requantisation.multiplier.flatten().tolist(),
            f"INT64_C({requantisation.offset.item()})",
            requantisation.shift,
        ]


def _table(kind: str, name: str, values: Iterable[object]) -> str:
    words = [str(value) for value in values]
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) > 96:
            lines.append(line)
            line = "   "
        line += f" {word},"
    lines.append(line)
    body = "\n".join(lines)
    return f"static const {kind} {name}[{len(words)}] = {{\n{body}\n}};"


_PUT = """\
/* Brings a sum to the numbers of the next map, or to a logit. No negative number is shifted. */
static inline void nas_search_put(
    int64_t sum, int shift, uint8_t *map, int32_t *logits, int at)
{
    if (logits) {
        sum = sum >= 0 ? sum >> shift : -((-(sum + 1)) >> shift) - 1;
        logits[at] = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    } else {
        sum = sum > 0 ? sum >> shift : 0;
        map[at] = sum > 255 ? 255 : (uint8_t)sum;
    }
}
"""

_KERNELS = {
    "conv": """\
static inline void nas_search_conv(
    const uint8_t *in, uint8_t *map, int32_t *logits,
    int channels, int height, int width, int zero, int outputs, int out_height, int out_width,
    const int8_t *weight, int kernel_height, int kernel_width, int stride, int padding, int groups,
    const int32_t *multiplier, const int64_t *offset, int shift)
{
    const int per_group = channels / groups, outputs_per_group = outputs / groups;
    int output, y, x, channel, i, j;
    for (output = 0; output < outputs; output++) {
        const uint8_t *from = in + (output / outputs_per_group) * per_group * height * width;
        const int8_t *kernel = weight + output * per_group * kernel_height * kernel_width;
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                int32_t sum = 0; /* at most 2**31 / (127 * 255) products */
                for (channel = 0; channel < per_group; channel++) {
                    for (i = 0; i < kernel_height; i++) {
                        const int row = y * stride + i - padding;
                        if (row < 0 || row >= height) {
                            continue;
                        }
                        for (j = 0; j < kernel_width; j++) {
                            const int column = x * stride + j - padding;
                            if (column >= 0 && column < width) {
                                sum += (from[(channel * height + row) * width + column] - zero)
                                    * kernel[(channel * kernel_height + i) * kernel_width + j];
                            }
                        }
                    }
                }
                nas_search_put((int64_t)sum * multiplier[output] + offset[output], shift,
                    map, logits, (output * out_height + y) * out_width + x);
            }
        }
    }
}
""",
    "scale": """\
static inline void nas_search_scale(
    const uint8_t *in, uint8_t *map, int32_t *logits, int channels, int size, int zero,
    const int32_t *multiplier, const int64_t *offset, int shift)
{
    int channel, i;
    for (channel = 0; channel < channels; channel++) {
        for (i = channel * size; i < (channel + 1) * size; i++) {
            nas_search_put((int64_t)(in[i] - zero) * multiplier[channel] + offset[channel], shift,
                map, logits, i);
        }
    }
}
""",
    "add": """\
static inline void nas_search_add(
    const uint8_t *in, uint8_t *map, int32_t *logits, int size, int zero,
    const uint8_t *other, int other_zero,
    int32_t multiplier, int32_t other_multiplier, int64_t offset, int shift)
{
    int i;
    for (i = 0; i < size; i++) {
        nas_search_put((int64_t)(in[i] - zero) * multiplier
            + (int64_t)(other[i] - other_zero) * other_multiplier + offset, shift, map, logits, i);
    }
}
""",
    "average_pool": """\
static inline void nas_search_average_pool(
    const uint8_t *in, uint8_t *map, int32_t *logits, int channels, int height, int width,
    int out_height, int out_width, int window_height, int window_width, int stride, int zero,
    int32_t multiplier, int64_t offset, int shift)
{
    int channel, y, x, i, j;
    for (channel = 0; channel < channels; channel++) {
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                int32_t sum = 0;
                for (i = y * stride; i < y * stride + window_height; i++) {
                    for (j = x * stride; j < x * stride + window_width; j++) {
                        sum += in[(channel * height + i) * width + j] - zero;
                    }
                }
                nas_search_put((int64_t)sum * multiplier + offset, shift,
                    map, logits, (channel * out_height + y) * out_width + x);
            }
        }
    }
}
""",
    "max_pool": """\
static inline void nas_search_max_pool(
    const uint8_t *in, uint8_t *map, int channels, int height, int width,
    int out_height, int out_width, int window_height, int window_width, int stride)
{
    int channel, y, x, i, j;
    for (channel = 0; channel < channels; channel++) {
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                uint8_t largest = 0;
                for (i = y * stride; i < y * stride + window_height; i++) {
                    for (j = x * stride; j < x * stride + window_width; j++) {
                        const uint8_t value = in[(channel * height + i) * width + j];
                        largest = value > largest ? value : largest;
                    }
                }
                map[(channel * out_height + y) * out_width + x] = largest;
            }
        }
    }
}
""",
}

_LOGITS_BEGIN = """\
static inline void nas_search_{name}(
    const uint8_t pixels[NAS_SEARCH_PIXELS], int32_t logits[NAS_SEARCH_CLASSES])
{{"""

_VIEWS = """\
/* The mean over several views of the image. What comes in at an edge is the edge itself. */
static inline void nas_search_logits(
    const uint8_t pixels[NAS_SEARCH_PIXELS], int32_t logits[NAS_SEARCH_CLASSES])
{{
    static const int8_t moves[{views}][2] = {{{moves}}}; /* pixels down and to the right */
    static uint8_t view[NAS_SEARCH_PIXELS];
    int64_t sums[NAS_SEARCH_CLASSES] = {{0}};
    int n, y, x, i;
    for (n = 0; n < {views}; n++) {{
        for (y = 0; y < {height}; y++) {{
            for (x = 0; x < {width}; x++) {{
                int row = y - moves[n][0], column = x - moves[n][1];
                row = row < 0 ? 0 : row >= {height} ? {height} - 1 : row;
                column = column < 0 ? 0 : column >= {width} ? {width} - 1 : column;
                view[y * {width} + x] = pixels[row * {width} + column];
            }}
        }}
        nas_search_view_logits(view, logits);
        for (i = 0; i < NAS_SEARCH_CLASSES; i++) {{
            sums[i] += logits[i];
        }}
    }}
    for (i = 0; i < NAS_SEARCH_CLASSES; i++) {{
        logits[i] = (int32_t)(sums[i] / {views});
    }}
}}
"""


def _views(program: IntegerProgram) -> str:
    moves = ", ".join(f"{{{down}, {right}}}" for down, right in MOVES[: program.views])
    _, height, width = program.input_shape
    return _VIEWS.format(views=program.views, moves=moves, height=height, width=width)


_PREDICT = """\
static inline int nas_search_predict(const uint8_t pixels[NAS_SEARCH_PIXELS])
{
    int32_t logits[NAS_SEARCH_CLASSES];
    int best = 0, i;
    nas_search_logits(pixels, logits);
    for (i = 1; i < NAS_SEARCH_CLASSES; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}
"""
