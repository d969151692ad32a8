"""The copyable files of clusters/: they can be read by what runs them, and say what is true."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from search.cli import cli

FOLDER = Path(__file__).resolve().parents[1] / "clusters"
SCRIPTS = sorted(FOLDER.glob("*.sh"))

SSH = """#!/bin/sh
shift 2
exec bash -c "$1"
"""
"""Stands for ssh: runs the command here, whatever the host."""

SEARCH = """#!/bin/sh
printf '%s|' "$@"
echo
trap 'echo handed back; exit 143' TERM
if [ "$1" = --wait ]; then while true; do sleep 0.1; done; fi
exit 3
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda each: each.name)
def test_scripts_are_bash(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_job_is_what_kubernetes_expects() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["env"][0]["name"] == "NAS_SEARCH_STORAGE"
    assert "value" not in container["env"][0]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] > 10


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda each: each.name)
def test_options_exist(file: Path) -> None:
    """Those of the commands that start `nas-search`, in files of whatever kind."""
    known = {option for parameter in cli.params for option in parameter.opts}
    text = re.sub(r"\\\n", " ", file.read_text())
    found = set()
    for line in re.findall(r"(?:nas-search|ssh\.sh)(?: .*|\n(?:\s+- --.*\n)+)", text):
        found |= set(re.findall(r"(?<=[\s`])--[a-z-]+", line))
    of_others = {"--from-literal"}
    assert found - of_others <= known
    assert found or file.name not in ("ssh.sh", "slurm.sh", "kubernetes.yaml")


def _machines(folder: Path) -> dict[str, str]:
    """An environment in which `ssh` enters this machine, and nas-search is a script."""
    programs = {"bin/ssh": SSH, "my search/.venv/bin/nas-search": SEARCH}
    for name, text in programs.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    return {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOSTS": "alpha beta",
        "FOLDER": str(folder / "my search"),
    }


def test_ssh_starts_the_same_command_everywhere(tmp_path: Path) -> None:
    words = ["--study", "it's mine", "--artifacts", "/a b/$c"]
    done = subprocess.run(
        ["bash", FOLDER / "ssh.sh", *words],
        env=_machines(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = "".join(f"{word}|" for word in words)
    assert sorted(done.stdout.splitlines()) == [f"alpha: {said}", f"beta: {said}"], done.stderr
    assert done.returncode == 3, shlex.join(words)


def test_ssh_ends_all_in_good_order(tmp_path: Path) -> None:
    running = subprocess.Popen(
        ["bash", FOLDER / "ssh.sh", "--wait"],
        env=_machines(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    begun = sorted(running.stdout.readline() for _ in range(2))
    assert begun == ["alpha: --wait|\n", "beta: --wait|\n"]
    running.terminate()
    rest, _ = running.communicate(timeout=30)
    assert sorted(rest.splitlines()) == ["alpha: handed back", "beta: handed back"]
