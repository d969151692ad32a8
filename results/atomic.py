"""Files that are there as a whole or not at all."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is never seen half written, even after a power cut. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process number: two machines may write to one folder.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
