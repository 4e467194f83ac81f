"""Owns the file of a store: its lock, its format, and the meaning of its errors.

The file is made whole under another name and then renamed, so that an empty file is never the queue's. A log (-wal)
without its file is refused: SQLite would remove the log with the events in it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from ..base import CannotOpen, StoreError, StoreErrorKind
from .file_check import (
    APPLICATION_ID,
    VERSION,
    cannot_open,
    check_format,
    make_not_a_database,
    read_owner,
    refuse_empty,
    refuse_log_alone,
)
from .moved_file import FileLocation, lock_inode
from .statements import SCHEMA

# One event of 1 KiB with its headers fills one of SQLite's usual pages of 4 KiB. In these it takes 2.7 KB, and a third
# less CPU.
PAGE_BYTES = 8_192
BUSY_SECONDS = 2.0  # the longest wait for another program's lock
OLDEST_SQLITE = (3, 38, 0)  # the first with JSON functions in every build

_KINDS: dict[int, StoreErrorKind] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}


def read_sqlite_error(error: Exception, path: Path) -> StoreError:
    """Returns an error of SQLite with its cause and action for the operator."""
    kind = _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "failed")
    if kind == "full":
        return StoreError(kind, f"The queue's file {path} cannot grow ({error}). Free space on its file system.")
    if kind == "locked":
        return StoreError(kind, f"Another program has locked the queue's file {path} ({error}). End that program.")
    if kind == "damaged":
        return StoreError(kind, f"The queue's file {path} is damaged ({error}). {_rescue(path)}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreError("failed", f"The queue's file {path} cannot be used ({name}: {error}). Check its disk and mode.")


def _rescue(path: Path) -> str:
    return (
        f"Stop the gateway, move {path} and its -wal away, and start again with a new file. "
        "`sqlite3 <moved file> .recover` prints what can be saved."
    )


class OwnedFile:
    """Holds the database file of this process, from `acquire` to `release`.

    `path` may contain symbolic links. The files beside it lie where the file really is, whatever its path is called.
    """

    location: FileLocation

    def __init__(self, path: Path) -> None:
        self.path = path
        self.real = path
        self._lock: int | None = None
        self._file: int | None = None

    def acquire(self) -> None:
        """Owns the file, and makes it where there is none. Raises `CannotOpen`."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            wanted = ".".join(map(str, OLDEST_SQLITE))
            raise CannotOpen(f"The queue needs SQLite {wanted} or newer; this Python has {sqlite3.sqlite_version}.")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.real = Path(os.path.realpath(self.path))
            self._acquire()
        except (OSError, sqlite3.Error) as error:
            self.release()
            raise cannot_open(self.path, error) from error
        except CannotOpen:
            self.release()
            raise

    def _acquire(self) -> None:
        """Takes the lock file first: it names the owner.

        Where the lock file was removed, it takes the file's own lock before, so that a new lock file gives no other
        process the queue.
        """
        if self.real.exists() and not os.path.lexists(f"{self.real}.lock"):
            self._file = self._open_file()
        self._acquire_lock()
        if not self.real.exists():
            self._create()
        else:
            refuse_empty(self.path, self.real.stat().st_size)
        if self._file is None:
            self._file = self._open_file()
        assert self._lock is not None
        self.location = FileLocation(self.path, self.real, self._file, self._lock)
        change = self.location.check()
        if change is not None:
            raise CannotOpen(str(change))

    def _open_file(self) -> int:
        """Opens and locks the file. The descriptor stays open as long as SQLite's: closing one drops the locks of
        SQLite."""
        file = os.open(self.real, os.O_RDWR | os.O_CLOEXEC)
        if not lock_inode(file):
            os.close(file)
            raise CannotOpen(
                f"Another process owns the queue's file {self.path}, by another name or without its lock file. "
                "`fuser` shows which. End it, or give this gateway a file of its own."
            )
        return file

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.real, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )

    def note_log(self, connection: sqlite3.Connection) -> None:
        """Opens the log after every connection has read: SQLite opens it by its name at the first read of each."""
        self.location.open_log(_pragma(connection, "page_size"))

    def check(self, connection: sqlite3.Connection) -> None:
        """Checks that the file is a queue of this version. SQLite itself detects a file that was cut off. Raises
        `CannotOpen`."""
        try:
            self._check(connection)
        except sqlite3.Error as error:
            fault = read_sqlite_error(error, self.path)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
                raise make_not_a_database(self.path) from error
            raise CannotOpen(str(fault)) from error

    def _check(self, connection: sqlite3.Connection) -> None:
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        check_format(self.path, application, version)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise CannotOpen(f"SQLite can write no log (WAL) beside {self.path}. Put the file on a local file system.")

    def release(self) -> None:
        if hasattr(self, "place"):
            self.location.close()
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def remove(self) -> None:
        """Removes the file and those beside it. It must still be owned, so that no other owner's file is removed."""
        for suffix in ("", "-wal", "-shm", ".lock"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.real}{suffix}")
        with suppress(OSError):  # the folder has other files
            self.real.parent.rmdir()

    def _acquire_lock(self) -> None:
        name = f"{self.real}.lock"
        while True:
            lock = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_nlink > 0:  # else its owner removed it meanwhile
                    break
            except BlockingIOError:
                error = read_owner(lock, self.path)
                os.close(lock)
                raise error from None
            except OSError:
                os.close(lock)
                raise
            os.close(lock)
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def _create(self) -> None:
        refuse_log_alone(self.path, self.real)
        made = Path(f"{self.real}.new")
        made.unlink(missing_ok=True)
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(made, isolation_level=None)
        try:
            connection.executescript(
                f"PRAGMA page_size = {PAGE_BYTES}; "
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {SCHEMA}"
            )
        finally:
            connection.close()
        made.rename(self.real)
        folder = os.open(self.real.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def keep_open(connection: sqlite3.Connection) -> None:
    """Keeps this connection open until the process ends.

    With the last connection of a file SQLite removes the log and its index by their names, which may be another file's
    by now. An object with one reference too many is not closed at the interpreter's end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
