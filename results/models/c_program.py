"""Compiles the C header and runs it: what a microcontroller would compute, on this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from results.errors import NasSearchError
from results.models.quantised import LOGITS

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
SECONDS = 300
"""After this long a program is taken to be stuck."""

_MAIN = r"""
#include <stdio.h>
#include "model.h"

int main(void)
{
    static uint8_t pixels[NAS_SEARCH_PIXELS];
    int32_t logits[NAS_SEARCH_CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        nas_search_logits(pixels, logits);
        if (fwrite(logits, sizeof *logits, NAS_SEARCH_CLASSES, stdout) != NAS_SEARCH_CLASSES) {
            return 1;
        }
    }
    return 0;
}
"""


def c_compiler() -> str | None:
    """The C compiler of this machine: $CC, or cc, gcc or clang."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class CProgram:
    """A compiled header: pixels 0..1 (N, 1, H, W) to logits (N, classes).

    Compiling and calling run the code in the header: only for headers that are trusted. Raises
    NasSearchError without a compiler or if it refuses the header.
    """

    def __init__(self, header: str, flags: Sequence[str] = FLAGS) -> None:
        compiler = c_compiler()
        if compiler is None:
            raise NasSearchError(
                "there is no C compiler here to run a .h file with: install gcc or clang, or name "
                "another form of the model"
            )
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder)
            (where / "model.h").write_text(header)
            (where / "main.c").write_text(_MAIN)
            done = subprocess.run(
                [compiler, *flags, "main.c", "-o", "main"],
                cwd=where,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                faults = [line for line in done.stderr.splitlines() if "error" in line]
                raise NasSearchError(f"it does not compile: {(faults or ['no reason given'])[0]}")
            self._program = (where / "main").read_bytes()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return LOGITS.real(self.run((pixels * 255).round().to(torch.uint8))).float()

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 (N, 1, H, W) to logits in 1 / 65,536, int32 (N, classes)."""
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "main"
            program.write_bytes(self._program)
            program.chmod(0o700)
            done = subprocess.run(
                [program],
                input=pixels.numpy().tobytes(),
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").splitlines() or ["no reason given"]
            raise NasSearchError(f"the compiled program failed: {said[0]}")
        return torch.frombuffer(bytearray(done.stdout), dtype=torch.int32).view(len(pixels), -1)
