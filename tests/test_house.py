"""Rules of the house: imports point down, and only displays write to the terminal."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TERMINAL = {"click.echo", "click.secho", "sys.stdout", "sys.stderr"}
ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("space", "results", "search")
DISPLAYS = {
    *("search.cli", "search.commands", "search.replay", "search.drilldown", "search.front"),
    *("search.progress", "results.present"),
}
ANSWERS_ITS_PARENT = {"search.verify"}
"""Runs as a process of its own and writes what it found to the pipe that is its stdout."""


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    _module_name(path): ast.parse(path.read_text(), filename=str(path))
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
}


def _imports(module: str) -> set[str]:
    """Modules imported anywhere in the file, also inside functions and for typing only."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & TREES.keys()
            found |= submodules or {node.module}
    return found


def _packages(module: str) -> set[str]:
    return {name.partition(".")[0] for name in _imports(module)}


def _modules_of(room: str) -> list[str]:
    return [name for name in TREES if name.partition(".")[0] == room]


def _reached(module: str) -> set[str]:
    """The module and the modules of the house it imports, however far away."""
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in TREES and name not in reached:
            reached.add(name)
            waiting += _imports(name)
    return reached


def _terminal_writes(tree: ast.Module) -> list[str]:
    """What in a module writes to the terminal, or is made for it, with line numbers."""
    writes = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            what = "print"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in TERMINAL:
            what = ast.unparse(node)
        elif isinstance(node, ast.Import) and any(
            alias.name.partition(".")[0] in ("rich", "tqdm") for alias in node.names
        ):
            what = "import of a display library"
        elif isinstance(node, ast.ImportFrom) and (
            (node.module or "").partition(".")[0] in ("rich", "tqdm")
            or (node.module == "sys" and {a.name for a in node.names} & {"stdout", "stderr"})
            or (node.module == "click" and {a.name for a in node.names} & {"echo", "secho"})
        ):
            what = f"import from {node.module}"
        else:
            continue
        writes.append(f"line {node.lineno}: {what}")
    return writes


@pytest.mark.parametrize(
    ("room", "rooms_above"), [("space", {"results", "search"}), ("results", {"search"})]
)
def test_imports_point_down(room: str, rooms_above: set[str]) -> None:
    modules = _modules_of(room)
    assert modules
    assert {name: found for name in modules if (found := _packages(name) & rooms_above)} == {}


def test_space_knows_no_optuna() -> None:
    assert [name for name in _modules_of("space") if "optuna" in _packages(name)] == []


def test_space_touches_torch_only_where_modules_are_built() -> None:
    users = {name for name in _modules_of("space") if "torch" in _packages(name)}
    assert users == {"space.network", "space.dropout", "space.views"}


def test_importing_space_does_not_load_torch() -> None:
    code = "import space, sys; sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", sorted(TREES.keys() - DISPLAYS - ANSWERS_ITS_PARENT))
def test_only_the_command_line_and_the_displays_write_to_the_terminal(module: str) -> None:
    assert _terminal_writes(TREES[module]) == []


@pytest.mark.parametrize("module", sorted(DISPLAYS))
def test_the_displays_do_write_to_the_terminal(module: str) -> None:
    assert _terminal_writes(TREES[module]) != []


PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _risky_calls(tree: ast.Module) -> list[str]:
    """What in a module may run what it reads, with line numbers."""
    found = []
    for node in ast.walk(tree):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names} & PICKLES
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]} & PICKLES
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            is_risky = (
                called in ("eval", "exec", "compile")
                or called.endswith(("read_pickle", "torch.jit.load", "torch.hub.load"))
                or (called == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle", "False") != "False"
            )
            names = {called} if is_risky else set()
        found += [f"line {node.lineno}: {name}" for name in sorted(names)]
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "eval(text)",
    ],
)
def test_what_may_run_what_it_reads_is_seen(line: str) -> None:
    assert _risky_calls(ast.parse(line)) != []


@pytest.mark.parametrize("module", sorted(TREES))
def test_no_pickle_is_loaded(module: str) -> None:
    assert _risky_calls(TREES[module]) == []


def test_training_knows_neither_optuna_nor_the_terminal() -> None:
    strangers = {"optuna", "click", "rich", "tqdm"}
    reached = _reached("search.train")
    assert "space.network" in reached
    assert {name: found for name in reached if (found := _packages(name) & strangers)} == {}


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: {found for found in _imports(name) if found in TREES} for name in TREES}
    assert graph["search.train"] >= {"search.flat", "space.network"}
    TopologicalSorter(graph).prepare()
