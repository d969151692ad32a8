"""The C header, compiled and run, against the network in whole numbers."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from results.models.c_program import FLAGS, CProgram, c_compiler
from results.models.c_source import c_header, constant_bytes, static_bytes
from results.models.memory import Buffer, arrange, peak
from search.data import DataSource
from space import SearchSpace
from tests.networks import EVERY_OP, trained_like
from tests.strategies import RandomTrial
from tests.test_quantise import fitted, quantised

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="there is no C compiler here")

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def unseen_digits(count: int) -> torch.Tensor:
    """Test digits, uint8 (count, 1, 28, 28)."""
    images, _ = DataSource("mnist-sample").load().test.batch(torch.arange(count))
    return images.unsqueeze(1)


@needs_compiler
@pytest.mark.parametrize("name", EVERY_OP)
def test_it_computes_the_same_logits_on_1000_test_digits(name: str) -> None:
    program = quantised(fitted(EVERY_OP[name], 0))
    compiled = CProgram(c_header(program, ["a test"]))
    pixels = unseen_digits(1_000)
    assert torch.equal(compiled.run(pixels), program.run(pixels).int())


@needs_compiler
@pytest.mark.parametrize("name", EVERY_OP)
def test_nothing_is_read_or_computed_out_of_bounds(name: str) -> None:
    try:
        CProgram("#define NAS_SEARCH_PIXELS 1\n#define NAS_SEARCH_CLASSES 1\n" + _EMPTY, SANITIZERS)
    except Exception:
        pytest.skip("this compiler has no sanitizers")
    program = quantised(fitted(EVERY_OP[name], 0))
    compiled = CProgram(c_header(program, ["a test"]), (*FLAGS, *SANITIZERS))
    pixels = torch.cat([unseen_digits(10), torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)])
    assert torch.equal(compiled.run(pixels), program.run(pixels).int())


@pytest.mark.parametrize("name", EVERY_OP)
def test_its_sizes_are_those_of_what_it_declares(name: str) -> None:
    program = quantised(fitted(EVERY_OP[name], 0))
    header = c_header(program, ["a test"])
    declared = re.findall(r"static (const )?u?int(\d+)_t \w+\[(\w+)\](?:\[(\d+)\])?", header)
    sizes = {True: 0, False: 0}
    for constant, bits, length, of in declared:
        count = 784 if length == "NAS_SEARCH_PIXELS" else int(length)
        sizes[bool(constant)] += count * int(of or 1) * int(bits) // 8
    assert sizes == {True: constant_bytes(program), False: static_bytes(program)}


_EMPTY = """
#include <stdint.h>
static void nas_search_logits(const uint8_t *pixels, int32_t *logits) { logits[0] = pixels[0]; }
"""


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_draws_of_the_space_compute_the_same(seed: int) -> None:
    architecture = SearchSpace.for_budget(2_000).sample(RandomTrial(seed)).architecture
    program = quantised(trained_like(architecture, seed))
    pixels = unseen_digits(20)
    compiled = CProgram(c_header(program, ["a test"]))
    assert torch.equal(compiled.run(pixels), program.run(pixels).int())


@given(
    st.lists(
        st.builds(Buffer, st.integers(0, 50), st.integers(0, 9), st.integers(0, 9)).map(
            lambda each: Buffer(each.size, each.first, max(each.first, each.last))
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None)
def test_buffers_that_live_at_the_same_time_do_not_overlap(needed: list[Buffer]) -> None:
    begins, size = arrange(needed)
    assert size >= peak(needed)
    placed = list(zip(needed, begins, strict=True))
    for position, (one, start) in enumerate(placed):
        assert start + one.size <= size
        for other, begin in placed[:position]:
            apart = start + one.size <= begin or begin + other.size <= start
            assert apart or not one.meets(other)


def test_a_chain_of_maps_takes_no_more_than_the_two_largest_neighbours() -> None:
    sizes = (0, 900, 400, 300, 700, 20, 0)
    chain = [Buffer(size, now, now + 1) for now, size in enumerate(sizes)]
    assert arrange(chain)[1] == peak(chain) == 1_300
