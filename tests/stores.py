"""A store that can be made to fail."""

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class Failing(MemoryFileSystem):
    """A bucket at `failing://`; while `fault` is set it fails, with an error of whatever kind."""

    protocol = "failing"
    fault: Exception | None = None

    def pipe_file(self, path: str, value: bytes, *args: Any, **kwargs: Any) -> None:
        if Failing.fault:
            raise Failing.fault
        super().pipe_file(path, value, *args, **kwargs)

    def info(self, path: str, **kwargs: Any) -> Any:
        if Failing.fault:
            raise Failing.fault
        return super().info(path, **kwargs)


fsspec.register_implementation("failing", Failing, clobber=True)
