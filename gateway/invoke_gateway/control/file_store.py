"""Keeps the control state in one file of JSON.

Each change writes the whole state into a new file beside it, flushes it to the disk, and renames it. So at any time,
also after a kill or a loss of power, the file is the state before a change or after it. A checksum detects a file that
was damaged. The file has one owner, who has a lock on the file `….lock` beside it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from ..policy.control.state import ControlState
from ..policy.os_text import printable
from .base import CannotOpenControl, ControlStoreError, OwnedByAnotherGateway
from .store import MemoryControlStore

FORMAT = 1

_WRITABLE = "Make its folder writable, or name another file with control.store."
_RESCUE = "Restore the file, or move it away to start with nothing set."


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """Holds the file's members. `sha256` is of the bytes of `state`."""

    format: int
    sha256: str
    state: msgspec.Raw


class _FileFormat(msgspec.Struct):
    """Holds the member that every format has."""

    format: int


def encode_state(state: ControlState) -> bytes:
    """Returns the file's bytes."""
    encoded = msgspec.json.encode(state)
    document = _Document(FORMAT, sha256(encoded).hexdigest(), msgspec.Raw(encoded))
    return msgspec.json.encode(document) + b"\n"


def decode_state(data: bytes, path: Path) -> ControlState:
    """Returns the state in the file's bytes. Raises `CannotOpenControl` where they are damaged."""
    if not data:
        raise CannotOpenControl(f"The control state {path} is empty: it was cut off. {_RESCUE}")
    try:
        found = msgspec.json.decode(data, type=_FileFormat).format
        if found != FORMAT:
            raise CannotOpenControl(
                f"The control state {path} has format {found}; this gateway reads format {FORMAT}. "
                "Start the gateway that wrote it."
            )
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CannotOpenControl(f"The control state {path} is damaged ({error}). {_RESCUE}") from error
    if sha256(bytes(document.state)).hexdigest() != document.sha256:
        raise CannotOpenControl(f"The control state {path} is damaged (its checksum differs). {_RESCUE}")
    try:
        return msgspec.json.decode(document.state, type=ControlState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CannotOpenControl(f"The control state {path} is damaged ({error}). {_RESCUE}") from error


def read_state(path: Path) -> ControlState:
    """Returns the state in the file; nothing set where there is no file. Raises `CannotOpenControl`."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ControlState()
    except OSError as error:
        action = "Make it readable, or name another file with control.store."
        raise CannotOpenControl(f"The control state {path} cannot be read ({error.strerror}). {action}") from error
    return decode_state(data, path)


def check_file(path: Path, *, is_default: bool) -> None:
    """Raises `CannotOpenControl` for what would keep a gateway from opening this file. Changes nothing.

    is_default: the settings do not name the file, so a folder that cannot be written does not matter yet
    """
    read_state(path)
    try:
        lock = os.open(f"{os.path.realpath(path)}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        is_unwritable = path.parent.exists() and not os.access(path.parent, os.W_OK | os.X_OK)
        if (is_unwritable or not isinstance(error, FileNotFoundError)) and (not is_default or path.exists()):
            raise CannotOpenControl(
                f"The control state {path} cannot be locked ({error.strerror}). {_WRITABLE}"
            ) from error
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _read_owner(lock, printable(str(path))) from None
    finally:
        os.close(lock)


def _read_owner(lock: int, where: str) -> OwnedByAnotherGateway:
    owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
    return OwnedByAnotherGateway(
        f"The process {owner} owns the control state {where}. "
        "End it, or give this gateway a file of its own with control.store."
    )


class FileControlStore(MemoryControlStore):
    """Keeps the state in a file that this process owns.

    path: the file; its folder is made when it is needed
    is_default: the settings do not name the file. A folder that cannot be written then matters only at the first
        change, and keeps no gateway from starting
    """

    def __init__(self, path: Path, *, is_default: bool = False) -> None:
        super().__init__(printable(str(path)))
        self.path = Path(os.path.realpath(path))
        self._is_default = is_default
        self._lock: int | None = None

    async def start(self) -> None:
        """Reads the file and takes its lock. Raises `CannotOpenControl`."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            self._acquire()
        except ControlStoreError as error:
            if self._is_default and not os.path.lexists(self.path):
                return
            raise CannotOpenControl(f"The control state {error}") from error
        self._state = read_state(self.path)

    async def _store(self, state: ControlState) -> None:
        await asyncio.to_thread(self._write, encode_state(state))

    def _write(self, data: bytes) -> None:
        try:
            self._acquire_late()
            replace_file(self.path, data)
        except OSError as error:
            action = "Free space or correct the folder's mode, or name another file with control.store."
            raise ControlStoreError(f"{self.where} cannot be written ({error.strerror}). {action}") from error

    def _acquire_late(self) -> None:
        """Takes the lock that the start could not take. Raises `ControlStoreError`."""
        if self._lock is not None:
            return
        try:
            self._acquire()
            is_unchanged = read_state(self.path) == self._state
        except CannotOpenControl as error:
            raise ControlStoreError(str(error)) from error
        if not is_unchanged:
            raise ControlStoreError(f"Another process wrote {self.where}. Restart the gateway to read it.")

    def _acquire(self) -> None:
        """Takes the lock, unless this process has it. Raises `CannotOpenControl` where another process has it."""
        if self._lock is not None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ControlStoreError(f"{self.where} cannot be locked ({error.strerror}). {_WRITABLE}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owned = _read_owner(lock, self.where)
            os.close(lock)
            raise owned from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    async def close(self) -> None:
        await super().close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def replace_file(path: Path, data: bytes) -> None:
    """Replaces a file by other bytes, at once and on the disk. Raises `OSError`."""
    made = f"{path}.new"
    with open(made, "wb", opener=_open_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(made, path)
    _flush_folder(path.parent)


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
