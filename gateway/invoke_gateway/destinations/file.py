"""Appends messages to files of JSON lines, which several gateways may write.

A line is one write to a file opened for appending, under the file's lock, and is on the disk before its delivery
counts. The lock serves a line that does not fit on the disk: its beginning is removed, so no other writer may have
appended behind it. The file is opened for each line, so it may be rotated by renaming.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from ..policy.events.destination_url import FileTarget
from ..queue.base import DeliveryFailed
from .message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

_THREADS = 4  # files written at the same time
_LOCK_POLL_SECONDS = 0.02
_RIGHTS = 0o600  # events may hold anything
_encode = msgspec.json.Encoder().encode


class JsonLineFiles:
    """Appends lines. `timeout_seconds`: the longest wait for the lock of a file that another process writes."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file")

    async def deliver(self, file: FileTarget, message: Message) -> None:
        """Appends a line. Raises `DeliveryFailed`, and then no part of the line is kept."""
        line = make_line(message)
        await asyncio.get_running_loop().run_in_executor(self._threads, self._append, file.path, line)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _append(self, path: str, line: bytes) -> None:
        try:
            with _locked(path, time.monotonic() + self._timeout) as descriptor:
                _write(descriptor, line, path)
        except OSError as error:
            raise DeliveryFailed(f"{error.strerror or error}; {_cure(error)}") from error


def make_line(message: Message) -> bytes:
    """Returns one JSON object and a line feed: the record as it is, or a dead letter's body as a text, unchanged."""
    told: dict[str, object] = {"kind": message.kind, "id": message.id, "function": message.event.arn}
    if message.attributes is None:
        # Line feeds of a JSON text stand between its parts, never inside them.
        told["record"] = msgspec.Raw(message.body.replace(b"\r", b" ").replace(b"\n", b" "))
    else:
        told["attributes"] = message.attributes
        try:
            told["body"] = message.body.decode()
        except UnicodeDecodeError:
            told["body_base64"] = message.body
    return _encode(told) + b"\n"


@contextmanager
def _locked(path: str, deadline: float) -> Iterator[int]:
    """Opens and locks the file that has the name now. Raises `OSError`, `DeliveryFailed`."""
    while True:
        # For reading too: opening a named pipe only for writing would block until it has a reader.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _RIGHTS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DeliveryFailed("it is no plain file; give the name of one, or of none yet")
            _lock(descriptor, deadline)
            if _has_name(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DeliveryFailed("another process has its lock; find that process with `lsof`") from None
            time.sleep(_LOCK_POLL_SECONDS)


def _has_name(descriptor: int, path: str) -> bool:
    """Returns whether the file still has its name, and was not rotated before its lock was taken."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write(descriptor: int, line: bytes, path: str) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line  # a writer died inside a line
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
        if not end:
            _sync_folder(os.path.dirname(path))  # the file may be new
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cure(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "make its folder"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "let the gateway write it"
        case errno.ENOSPC | errno.EDQUOT:
            return "make room on its disk"
    return "check the file"
