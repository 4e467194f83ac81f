"""Checks that the open file of a queue is still at its path, with its log and its lock.

SQLite goes on with the inodes that it has opened, whatever becomes of their names. After the next start its commits to
a removed or moved file are lost or elsewhere. So the names are compared with the open files after each commit, before a
request is answered: five calls for a batch of events.

A lock on the inode itself keeps a second owner away where the lock file was removed, or the file has another name. The
lock is on one byte behind all that SQLite locks, and belongs to the open file (OFD): it ends with that alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import NamedTuple

from ...policy.os_text import printable
from ..base import StoreError

_LOG_MAGIC = b"\x37\x7f\x06"  # the first bytes of a log of SQLite; the fourth is the order of bytes
_FRAME_HEADER_BYTES = 24  # of a page in the log
_FRAMES_AT = 16  # in the index of the log
_LOCKED_BYTE = 1 << 62
_SET_LOCK = getattr(fcntl, "F_OFD_SETLK", None)  # Linux only

_DRAIN = "or let the events that it keeps run, and start the gateway again"


class Inode(NamedTuple):
    device: int
    number: int


def lock_inode(file: int) -> bool:
    """Locks the open file until its descriptor is closed. Returns False where another process has the lock.

    On a system without such locks only the lock file keeps others away.
    """
    if _SET_LOCK is None:
        return True
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(file, _SET_LOCK, wanted)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return True


class FileLocation:
    """Compares open files with their names.

    path: the file's path as it was given.
    real: the same without symbolic links.
    file, lock: open descriptors.
    """

    def __init__(self, path: Path, real: Path, file: int, lock: int) -> None:
        self._path = str(path)
        self._file = file
        self._names = {
            "file": self._path,
            "log": f"{real}-wal",
            "index": f"{real}-shm",
            "lock": f"{real}.lock",
        }
        self._inodes = {"file": _inode(os.fstat(file)), "lock": _inode(os.fstat(lock))}
        self._log = self._index = -1
        self._frame_bytes = 0
        self._least_bytes = os.fstat(file).st_size
        self._change: StoreError | None = None

    def open_log(self, page_bytes: int) -> None:
        """Opens the log and its index, once SQLite has made them. Raises `OSError`."""
        self._frame_bytes = _FRAME_HEADER_BYTES + page_bytes
        self._index = os.open(self._names["index"], os.O_RDONLY | os.O_CLOEXEC)
        self._inodes["index"] = _inode(os.fstat(self._index))
        log = os.open(self._names["log"], os.O_RDONLY | os.O_CLOEXEC)
        self._inodes["log"] = _inode(os.fstat(log))
        self._log = log

    def close(self) -> None:
        """Closes the log and the index, after SQLite: closing a descriptor drops the locks that SQLite has by
        another."""
        for descriptor in (self._log, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._index = -1

    def recheck(self) -> StoreError | None:
        """Checks again after a change was found. Costs nothing where none was."""
        return None if self._change is None else self.check()

    def check(self) -> StoreError | None:
        """Returns the first change since the file was opened; None where there is none."""
        if self._find_change() is None:
            self._change = self._check_log()
        else:
            # A move of the folder may fall between two look-ups: by the second time all that is gone is gone, so one
            # fault has one text.
            self._change = self._find_change()
        return self._change

    def _find_change(self) -> StoreError | None:
        found = (self._check(what) for what in self._inodes)
        return next((change for change in found if change is not None), None)

    def measure(self) -> None:
        """Takes the present size as the least, after this process has made the file smaller."""
        self._least_bytes = os.fstat(self._file).st_size

    def _check(self, what: str) -> StoreError | None:
        name = self._names[what]
        try:
            status = os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return self._fault(what, "was removed or moved, or its folder was")
        except OSError as error:
            return self._fault(what, f"cannot be reached any more ({error.strerror})")
        if _inode(status) != self._inodes[what]:
            return self._fault(what, "was replaced by another")
        if status.st_nlink != 1:
            return StoreError(
                "replaced",
                f"The queue's {_WORDS[what]} {printable(name)} has {status.st_nlink} names (hard links). By another "
                "name a second program could change it. Remove the other names; no restart is needed.",
            )
        if what == "file":
            if status.st_size < self._least_bytes:
                return _cut_off(name, "Stop the gateway, and read what is left with `sqlite3 FILE .recover`.")
            self._least_bytes = status.st_size
        return None

    def _check_log(self) -> StoreError | None:
        """Checks that a log which is not empty begins with a header, and has all frames that its index counts."""
        if self._log < 0:
            return None
        try:
            before = self._count_frames()
            size = os.fstat(self._log).st_size
            has_header = not size or os.pread(self._log, len(_LOG_MAGIC), 0) == _LOG_MAGIC
            has_begun_again = before != self._count_frames()
        except (OSError, struct.error):
            return self._fault("index", "or the log itself cannot be read any more")
        if has_header and (size >= self._frame_bytes * before or has_begun_again):
            return None
        cure = "A restart loses what is in it: let the events that are kept run before."
        return _cut_off(self._names["log"], cure)

    def _count_frames(self) -> int:
        """Returns the number of valid frames in the log, by the first copy of its index's header."""
        (frames,) = struct.unpack("=I", os.pread(self._index, 4, _FRAMES_AT))
        return int(frames)

    def _fault(self, what: str, how: str) -> StoreError:
        name = printable(self._names[what])
        if what == "file":
            cure = f"Bring it back with its -wal, -shm and .lock{self._find()}, {_DRAIN}."
        elif what == "log":
            cure = f"Bring it back, {_DRAIN}."
        else:
            cure = "Bring it back, or start the gateway again: what the file holds stays."
        return StoreError("replaced", f"The queue's {_WORDS[what]} {name} {how}. New events are refused. {cure}")

    def _find(self) -> str:
        """Returns the present path of the open file, as far as the system shows it."""
        try:
            found = os.readlink(f"/proc/self/fd/{self._file}")
        except OSError:
            return ""
        is_known = not found.endswith(" (deleted)") and found != self._path
        return f" (it is now {printable(found)})" if is_known else ""


_WORDS = {"file": "file", "log": "log", "index": "index of the log", "lock": "lock"}


def _inode(status: os.stat_result) -> Inode:
    return Inode(status.st_dev, status.st_ino)


def _cut_off(name: str, cure: str) -> StoreError:
    return StoreError("damaged", f"The queue's file {printable(name)} was cut off while the gateway ran. {cure}")
