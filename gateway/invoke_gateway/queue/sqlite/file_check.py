"""Finds what keeps the file of a store from being opened, and changes nothing.

`OwnedFile.acquire` makes folders, takes the lock and writes; this only reads, so that it may run beside a gateway.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from ..base import CannotOpen
from .owned_file import APPLICATION_ID, VERSION

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100  # https://sqlite.org/fileformat2.html, 1.3: user_version at 60, application_id at 68
_CURE = "Make its folder writable, or name another file with async.store."


class OwnedByAnother(CannotOpen):
    """Reports that a running process has the file's lock."""


def check_file(path: Path) -> None:
    """Raises `CannotOpen` for what would keep a gateway from opening this file."""
    try:
        _check_folder(path.parent)
        log = Path(f"{path}-wal")
        if path.exists():
            _check_database(path)
        elif log.exists() and log.stat().st_size > 0:
            raise CannotOpen(f"There is {log}, but not {path}, to which it belongs. Bring it back, or remove the log.")
        _check_lock(Path(f"{path}.lock"), path)
    except OSError as error:
        raise CannotOpen(f"The queue's file {path} cannot be opened ({error}). {_CURE}") from error


def _check_folder(folder: Path) -> None:
    """Check that files can be made in the folder, or the folder itself in its nearest existing parent."""
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
    if not header:
        raise CannotOpen(f"The queue's file {path} is empty: it was cut off. Remove it to begin with an empty queue.")
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise CannotOpen(f"{path} is no database of SQLite. Name another file, or move it away.")
    version, application = (int.from_bytes(header[start : start + 4], "big") for start in (60, 68))
    if application != APPLICATION_ID:
        raise CannotOpen(f"{path} is a database, but no queue of this gateway. Name another file.")
    if version != VERSION:
        raise CannotOpen(
            f"The queue's file {path} has format {version}; this gateway reads format {VERSION}. "
            "Start the gateway that wrote it."
        )


def _check_lock(lock: Path, path: Path) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise OwnedByAnother(
            f"The process {owner} owns the queue's file {path}. End it, or give this gateway a file of its own."
        ) from None
    finally:
        os.close(descriptor)
