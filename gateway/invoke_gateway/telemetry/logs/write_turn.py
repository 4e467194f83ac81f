"""Lets the processes of one gateway write to a shared pipe one after another.

The kernel keeps a write of up to PIPE_BUF bytes whole. A longer line, such as an error with its traceback in JSON, may
be cut by lines of other processes while the pipe is full. A record lock on a file that the processes share prevents
this. A process that ends, however it ends, loses its lock.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import tempfile
from threading import Event
from time import monotonic

STOPPED_SECONDS = 2.0  # the longest wait for a process that holds the lock, and does not write although it could

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between two attempts


def make_lock_file() -> int:
    """Returns a file without a name, for the locks of this process and of its children."""
    with tempfile.TemporaryFile(prefix="invoke-gateway-") as file:
        return os.dup(file.fileno())


def needs_turns(file: int) -> bool:
    """Returns whether a long write to this file may be cut: of a regular file the kernel keeps each write whole."""
    try:
        return not stat.S_ISREG(os.fstat(file).st_mode)
    except OSError:
        return False


class WriteTurn:
    """Holds the lock while a piece is written.

    lock_file: the file of the locks
    place: the byte that is locked; each log has one of its own
    file: the file that is written
    """

    def __init__(self, lock_file: int, place: int, file: int) -> None:
        self._lock_file = lock_file
        self._place = place
        self._file = file
        self._is_locked = False

    def __enter__(self) -> None:
        self._is_locked = self._wait()

    def __exit__(self, *_: object) -> None:
        if self._is_locked:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, self._place)

    def _wait(self) -> bool:
        """Waits for the lock. Returns False if its holder is stopped: the log goes on without."""
        pause, ends_at = _SHORTEST_PAUSE, monotonic() + STOPPED_SECONDS
        while True:
            try:
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place)
            except (BlockingIOError, PermissionError):  # held by another process; POSIX allows both
                if not select.select([], [self._file], [], 0)[1]:
                    ends_at = monotonic() + STOPPED_SECONDS  # the holder waits for the reader, as this process would
                elif monotonic() > ends_at:
                    return False
            except OSError:  # the file system has no locks
                return False
            else:
                return True
            Event().wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
