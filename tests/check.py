"""Every check of the project, for people and for CI: formatting, lint, types, tests.

Runs all of them with the Python that runs it, and exits 1 if any fails.
"""

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-q", "-n", "auto", "--durations", "5"),
)


def main() -> int:
    root = Path(__file__).parent.parent
    failed = []
    for check in CHECKS:
        sys.stdout.write(f"== {' '.join(check)}\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", *check], cwd=root, check=False).returncode:
            failed.append(check[0])
    # pytest last, so that its closing line is the last one of a run without faults.
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
