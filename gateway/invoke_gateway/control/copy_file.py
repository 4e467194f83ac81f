"""Keeps a copy of a shared control state in a file, for a store that keeps nothing on the disk.

The workers of one machine write one file. It has the newest state that was answered, and an older one replaces none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from ..policy.control.state import ControlState
from ..policy.os_text import printable
from .base import ControlStoreError
from .file_store import encode_state, read_state, replace_file

_LOCK_SECONDS = 2.0  # a worker writes for milliseconds
_PAUSE_SECONDS = 0.005


class CopyFile:
    """Reads and writes the file. Its methods block, and belong into a thread."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self._where = printable(str(path))

    def read(self) -> ControlState:
        """Returns the state in the file. Raises `CannotOpenControl`."""
        return read_state(self.path)

    def write(self, state: ControlState) -> None:
        """Writes the state, unless the file has a newer one. Raises `ControlStoreError` and `CannotOpenControl`."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                present = self.read()
                if present.version <= state.version and present != state:
                    replace_file(self.path, encode_state(state))
        except OSError as error:
            raise ControlStoreError(
                f"The value is set, and is lost with the workers: {self._where} cannot be written ({error.strerror}). "
                "Free space or correct the folder's mode, or name another file with control.store."
            ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            deadline = monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if monotonic() > deadline:
                        raise
                    sleep(_PAUSE_SECONDS)
            yield
        finally:
            os.close(lock)
