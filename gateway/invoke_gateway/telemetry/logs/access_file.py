"""Opens the access log by its path, and opens the file again after a rotation."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from time import monotonic

log = logging.getLogger("invoke_gateway")

CHECK_SECONDS = 1.0  # between two looks at the path


class LogFile:
    """Holds the open file of a log. `current` is called in the thread that writes, `check_soon` in any thread."""

    def __init__(self, path: str) -> None:
        """Opens the file, which is made if it is missing. Raises `OSError`."""
        self.path = Path(path).absolute()
        self.file = _open(self.path)
        self._next_check = monotonic() + CHECK_SECONDS
        self._has_failed = False

    def check_soon(self) -> None:
        """Looks at the path before the next line is written."""
        self._next_check = 0.0

    def current(self) -> int:
        """Returns the file to write to: another one if the path names another file since the last look."""
        now = monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            if self._was_replaced():
                self._open_again()
        return self.file

    def _was_replaced(self) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return True
        here = os.fstat(self.file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _open_again(self) -> None:
        try:
            file = _open(self.path)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.error(
                    "the access log %s cannot be opened again: %s. Lines go to the file as it was opened before. "
                    "Correct the path or its permissions; the gateway tries every %g s",
                    *(self.path, error.strerror, CHECK_SECONDS),
                )
            return
        self._has_failed = False
        os.dup2(file, self.file, inheritable=False)
        os.close(file)
        log.info("the access log %s was opened again", self.path, extra={"fields": {"kind": "access_log_reopened"}})


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    file = os.open(path, flags | os.O_NONBLOCK, 0o640)  # a named pipe without a reader is an error, not a wait
    os.set_blocking(file, True)
    return file


def is_same_file(one: int, other: int) -> bool:
    """Returns whether two descriptors are of one file, such as one pipe."""
    try:
        a, b = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def find_obstacle(path: str) -> str | None:
    """Returns the reason why a log file cannot be written at this path; None if it can. Makes no file."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        folder = file.absolute().parent
        if not folder.is_dir():
            return f"the folder {folder} does not exist"
        return None if os.access(folder, os.W_OK | os.X_OK) else f"the folder {folder} may not be written to"
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return None if os.access(file, os.W_OK) else "the file may not be written to"
