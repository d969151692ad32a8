"""What fuzz tests share: the law that every input is held to, and mutations of what is valid.

The law: a reader gives a right answer or one clear line, within `MOST_SECONDS` of processor time,
`MOST_BYTES` of memory more than before, without a warning and without unpickling anything.
"""

import faulthandler
import io
import json
import os
import pickle
import resource
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import hypothesis
import psutil
from hypothesis import Phase
from hypothesis import strategies as st

from results.errors import NasSearchError
from search.cli import run_command

T = TypeVar("T")

MORE_VARIABLE = "NAS_SEARCH_FUZZ"
"""Environment variable: how many inputs each test tries, to fuzz for longer by hand."""

MOST_SECONDS = 5.0
MOST_BYTES = 1 << 30
STUCK_SECONDS = 120
"""After so long an input is taken to hang, and the process ends with its traceback."""

CEILING_BYTES = 4 << 30
"""More than before can't be taken, so that a fault ends a test and not the machine."""

MOST_MESSAGE = 2_000
"""Characters of a line that a person still reads."""

INPUTS: Counter[str] = Counter()
"""Inputs tried in this process, by reader. `tests/conftest.py` says their sum at the end."""


def fuzzed(examples: int) -> Callable[[T], T]:
    """How a test explores: so many inputs, or as many as the environment says.

    The same each time, so that a test that turns red points at a change; as many as the environment
    says are others each time, to find what is not known yet.
    """
    more = os.environ.get(MORE_VARIABLE)
    return hypothesis.settings(
        max_examples=int(more or examples),
        derandomize=not more,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink takes many slow readings
        suppress_health_check=list(hypothesis.HealthCheck),
    )


# The law


@contextmanager
def lawful(reader: str) -> Iterator[None]:
    """Counts one input of a reader, and fails if what is done with it breaks the law."""
    INPUTS[reader] += 1
    memory, unpickled = psutil.Process().memory_info(), len(_UNPICKLED)
    peak, seconds = _peak_bytes(), _cpu_seconds()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory.vms + CEILING_BYTES, limits[1]))
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
    try:
        with warnings.catch_warnings(record=True) as warned:
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)
    shown = [str(each.message) for each in warned if _is_shown(each.category)]
    assert shown == [], f"warned: {shown}"
    took = _cpu_seconds() - seconds
    assert took < MOST_SECONDS, f"{took:.1f} seconds"
    # The peak is that of all the process's life: unchanged it was lower than it was before.
    grown = _peak_bytes() - memory.rss if _peak_bytes() > peak else 0
    assert grown < MOST_BYTES, f"{grown:,} bytes"
    assert _UNPICKLED[unpickled:] == [], f"unpickled: {_UNPICKLED[unpickled:]}"


def answer_of(reader: str, read: Callable[[], T]) -> T | None:
    """What is read, or None if it was refused in one clear line."""
    with lawful(reader):
        try:
            return read()
        except NasSearchError as error:
            _check_line(str(error))
            return None


@dataclass(frozen=True)
class Said:
    """What a command line said, and its exit code."""

    code: int
    out: str
    err: str


def answer_of_command(reader: str, arguments: list[str]) -> Said:
    """Runs a command line in this process, with streams as strict as those of a terminal."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with (
        lawful(reader),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.dict(os.environ, {"NAS_SEARCH_DEBUG": "1"}),  # a fault is raised, and not told
    ):
        code = run_command(arguments)
    said = Said(code, *(each.buffer.getvalue().decode() for each in (out, err)))  # type: ignore
    assert code in (0, 1, 2), code
    assert "Traceback" not in said.err, said
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert bool(errors) == (code != 0), said
    for line in errors:
        _check_line(line)
    return said


def _check_line(said: str) -> None:
    assert said.strip(), "an empty line"
    assert "\n" not in said, f"several lines: {said}"
    assert len(said) < MOST_MESSAGE, f"{len(said)} characters: {said[:MOST_MESSAGE]}"


def _is_shown(warning: type[Warning]) -> bool:
    """Whether Python shows a person such a warning, from any module."""
    hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    return not issubclass(warning, hidden)


def _cpu_seconds() -> float:
    """Of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


_UNPICKLED: list[str] = []


def _notice_pickles(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: unpickling anything but plain values looks up names."""
    if event == "pickle.find_class":
        _UNPICKLED.append(".".join(map(str, arguments[:2])))


sys.addaudithook(_notice_pickles)


# What to try


class Trap:
    """Pickled, it writes a file when it is loaded."""

    FILE = Path("harmed")

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.FILE,)


def _archive(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("model/data.pkl", "model/data/sample_inputs/model.pt", "archive/data.pkl"):
            archive.writestr(name, content)
        archive.writestr("model/version", "3")
    return made.getvalue()


TRAPS = (pickle.dumps(Trap()), _archive(pickle.dumps(Trap())))
"""A pickle, and an archive of pickles as PyTorch writes them."""

WHOLE_NUMBERS = (
    *(0, 1, -1, 2, 7, 28, 255, 256, 4_096, 65_535, 10**6, 2**31 - 1, 2**31, 2**32, -(2**31)),
    *(2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30),
)


class Raw(str):
    """JSON that stands in a document as it is, also where it is none."""


ODD_VALUES = (
    *(None, True, False, *WHOLE_NUMBERS),
    *(0.5, -0.5, 1e-300, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")),
    *("", " ", "\0", "a\nb", "\ud800", "é" * 100, "x" * 10_000, "nan", "1", "[]", "{}", "../../x"),
    *([], {}, [[]], [None], [1, "a"], {"": {}}, [0] * 1_000, {"kind": "conv"}, {"a": [{}] * 9}),
    *(Raw("[" * 5_000), Raw("[" * 900 + "]" * 900), Raw('{"a":' * 900 + "1" + "}" * 900)),
    *(Raw("1e400"), Raw("-0"), Raw("9" * 5_000), Raw("01"), Raw("'a'"), Raw('"\\ud800"'), Raw("")),
)


def odd_values() -> st.SearchStrategy[Any]:
    """What does not belong: of another type, too large, not finite, nested too deeply, no JSON."""
    return st.one_of(
        st.sampled_from(ODD_VALUES),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=20),
    )


@st.composite
def mutated_json(draw: st.DrawFn, document: Any, keys: tuple[str, ...] = ()) -> bytes:
    """The document with some values replaced, keys gone, twice or foreign, in some encoding.

    `keys`: only values at or below these of the outermost keys are changed.
    """
    pairs = _Pairs.of(document)
    for _ in range(draw(st.integers(1, 3))):
        places = [each for each in _places(pairs) if not keys or each[0][0] in keys]
        if not places:
            break
        _path, holder, index = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("replace", "replace", "replace", "delete", "double", "add")))
        if change == "replace":
            holder.set(index, draw(odd_values()))
        elif change == "delete":
            del holder.items[index]
        elif change == "double":
            holder.items.insert(index, (holder.items[index][0], draw(odd_values())))
        else:
            holder.items.insert(index, (draw(st.text(max_size=9)), draw(odd_values())))
    text = _written(pairs)
    encoding = draw(st.sampled_from(("utf-8",) * 9 + ("utf-8-sig", "utf-16", "utf-32", "latin-1")))
    errors = "replace" if encoding == "latin-1" else "surrogatepass"
    return text.encode(encoding, errors)


@dataclass
class _Pairs:
    """An object or array of JSON as pairs, so that a key can be there twice."""

    items: list[tuple[Any, Any]]
    is_object: bool

    @classmethod
    def of(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return cls([(name, cls.of(each)) for name, each in value.items()], True)
        if isinstance(value, list):
            return cls([(None, cls.of(each)) for each in value], False)
        return value

    def set(self, index: int, value: Any) -> None:
        self.items[index] = (self.items[index][0], value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, _Pairs, int]]:
    if isinstance(value, _Pairs):
        for index, (name, each) in enumerate(value.items):
            here = (*path, name if value.is_object else index)
            yield here, value, index
            yield from _places(each, here)


def _written(value: Any) -> str:
    if isinstance(value, _Pairs):
        inner = (
            f"{json.dumps(str(name))}: {_written(each)}" if value.is_object else _written(each)
            for name, each in value.items
        )
        return f"{{{', '.join(inner)}}}" if value.is_object else f"[{', '.join(inner)}]"
    return value if isinstance(value, Raw) else json.dumps(value, ensure_ascii=False)


@st.composite
def mutated_bytes(draw: st.DrawFn, valid: bytes, heads: int = 64) -> bytes:
    """The file with bits flipped, cut short, parts gone, twice or foreign, numbers extreme.

    Half of the changes are within the first `heads` bytes, where formats keep their sizes.
    """
    if draw(st.integers(0, 19)) == 0:
        return draw(st.one_of(st.sampled_from(TRAPS), st.binary(max_size=200)))
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        most = draw(st.sampled_from((min(heads, len(content)), len(content))))
        start = draw(st.integers(0, most))
        end = min(len(content), start + draw(st.integers(0, 64)))
        change = draw(st.sampled_from(("flip", "number", "cut", "drop", "double", "splice")))
        if change == "flip" and start < len(content):
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif change == "number":
            size = draw(st.sampled_from((1, 2, 4, 8)))
            number = draw(st.sampled_from(WHOLE_NUMBERS)) % 256**size
            order = draw(st.sampled_from(("little", "big")))
            content[start : start + size] = number.to_bytes(size, order)
        elif change == "cut":
            del content[start:]
        elif change == "drop":
            del content[start:end]
        elif change == "double":
            content[start:start] = content[start:end]
        else:
            content[start:end] = draw(st.one_of(st.binary(max_size=64), st.sampled_from(TRAPS)))
    return bytes(content)
