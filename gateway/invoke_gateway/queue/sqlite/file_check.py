"""Finds what keeps the file of a store from being opened.

The rules are here once. `check_file` applies them without changing anything, so it may run beside a gateway;
`OwnedFile.acquire` applies them while it makes folders, takes the lock and opens the file.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from ..base import CannotOpen

APPLICATION_ID = 0x49475131  # "IGQ1"
VERSION = 1

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100  # https://sqlite.org/fileformat2.html, 1.3: user_version at 60, application_id at 68


class OwnedByAnother(CannotOpen):
    """Reports that a running process has the file's lock."""


def check_file(path: Path) -> None:
    """Raises `CannotOpen` for what would keep a gateway from opening this file."""
    try:
        _check_folder(path.parent)
        if path.exists():
            _check_database(path)
        else:
            refuse_log_alone(path, path)
        _check_lock(Path(f"{path}.lock"), path)
    except OSError as error:
        raise cannot_open(path, error) from error


def cannot_open(path: Path, error: Exception) -> CannotOpen:
    action = "Make its folder writable, or name another file with async.store."
    return CannotOpen(f"The queue's file {path} cannot be opened ({error}). {action}")


def refuse_log_alone(path: Path, real: Path) -> None:
    """Refuses a log whose file is missing: SQLite would remove the log, and the events in it. Raises `CannotOpen`."""
    log = Path(f"{real}-wal")
    if log.exists() and log.stat().st_size > 0:
        raise CannotOpen(
            f"The file {path} is missing, and its log {log} has events that are in no other file. Bring the file back, "
            "or remove the log."
        )


def refuse_empty(path: Path, size: int) -> None:
    if size == 0:
        raise CannotOpen(f"The queue's file {path} is empty: it was cut off. Remove it to begin with an empty queue.")


def check_format(path: Path, application: int, version: int) -> None:
    """Raises `CannotOpen` unless the file is a queue in the format of this gateway."""
    if application != APPLICATION_ID:
        raise CannotOpen(f"{path} is a database, but no queue of this gateway. Name another file.")
    if version != VERSION:
        raise CannotOpen(
            f"The queue's file {path} has format {version}; this gateway reads format {VERSION}. "
            "Start the gateway that wrote it."
        )


def make_not_a_database(path: Path) -> CannotOpen:
    return CannotOpen(f"{path} is no database of SQLite. Name another file, or move it away.")


def read_owner(lock: int, path: Path) -> OwnedByAnother:
    """Returns the error that names the process which has the lock file."""
    owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
    return OwnedByAnother(
        f"The process {owner} owns the queue's file {path}. End it, or give this gateway a file of its own; many "
        "gateways share one queue on Redis."
    )


def _check_folder(folder: Path) -> None:
    """Checks that files can be made in the folder, or the folder itself in its nearest existing parent."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(there))


def _check_database(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise CannotOpen(f"{path} is no plain file. Name another file.")
    with path.open("r+b") as file:
        header = file.read(_HEADER_BYTES)
    refuse_empty(path, len(header))
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise make_not_a_database(path)
    version, application = (int.from_bytes(header[start : start + 4], "big") for start in (60, 68))
    check_format(path, application, version)


def _check_lock(lock: Path, path: Path) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise read_owner(descriptor, path) from None
    finally:
        os.close(descriptor)
