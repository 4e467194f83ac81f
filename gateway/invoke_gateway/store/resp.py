"""Encodes commands and parses replies: RESP2, as Redis and Valkey define it.

An exchange of redis-py executes six times as many instructions. The classes of errors are redis-py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    ExecAbortError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

Command = tuple[str | bytes | int, ...]

# The longest line. A bulk string is longer, and its line has only its length.
MOST_LINE_BYTES = 8192
# The deepest array. Replies of our scripts and commands have at most four levels.
MOST_LEVELS = 32
# Redis's own bound of a bulk string (proto-max-bulk-len), and a bound for the elements of an array.
MOST_LENGTH = 512 * 1024 * 1024

_ARRAY, _BULK, _ERROR, _INTEGER, _STATUS = b"*$-:+"

_ERRORS: dict[str, type[RedisError]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "DENIED": ConnectionError,
    "EXECABORT": ExecAbortError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MOVED": MovedError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "WRONGPASS": AuthenticationError,
}


def encode_commands(commands: Iterable[Command]) -> bytes:
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            if isinstance(argument, bytes):
                encoded = argument
            else:
                encoded = (argument if isinstance(argument, str) else str(argument)).encode()
            parts.append(b"$%d\r\n" % len(encoded))
            parts.append(encoded)
            parts.append(b"\r\n")
    return b"".join(parts)


def parse_error(line: str) -> RedisError:
    """Returns the error of a line without its first character."""
    code, _, text = line.partition(" ")
    kind = _ERRORS.get(code)
    if kind is not None:
        return kind(text, status_code=code)
    if line == "ERR max number of clients reached":
        return ConnectionError("max number of clients reached")
    return ResponseError(text, status_code=code) if code == "ERR" else ResponseError(line)


class ReplyParser:
    """Parses what a server sends. Each byte is parsed once, however it is divided."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._arrays: list[tuple[list[Any], int]] = []  # those that are not whole yet, and their lengths

    def feed(self, data: bytes) -> list[Any]:
        """Returns the replies that `data` completes. Raises `InvalidResponse` for what is no reply."""
        if not self._rest:
            if data.startswith(b"$") and not self._arrays:  # nearly all replies of scripts: one string, whole
                end = data.find(b"\r\n", 1, 12)
                digits = data[1:end] if end > 0 else b""
                if digits.isdigit() and len(data) == end + int(digits) + 4 and data.endswith(b"\r\n"):
                    return [data[end + 2 : -2]]
            replies, end = self._parse(data)
            if end != len(data):
                self._rest += data[end:]
            return replies
        self._rest += data
        replies, end = self._parse(self._rest)
        del self._rest[:end]
        return replies

    def _parse(self, data: bytes | bytearray) -> tuple[list[Any], int]:
        """Returns the replies, and the end of what was parsed."""
        replies: list[Any] = []
        position = 0
        value: Any
        while (end := data.find(b"\r\n", position)) >= 0:
            kind = data[position]
            if kind == _BULK:
                length = _read_length(data[position + 1 : end])
                start = end + 2
                if length is None:
                    value = None
                    position = start
                elif len(data) < start + length + 2:
                    return replies, position
                else:
                    position = start + length + 2
                    value = bytes(data[start : position - 2])
                    if data[position - 2 : position] != b"\r\n":
                        raise InvalidResponse("Protocol Error: a string without its end")
            elif kind == _ARRAY:
                length = _read_length(data[position + 1 : end])
                position = end + 2
                if length:
                    if len(self._arrays) == MOST_LEVELS:
                        raise InvalidResponse(f"Protocol Error: arrays of more than {MOST_LEVELS} levels")
                    self._arrays.append(([], length))
                    continue
                value = None if length is None else []
            else:
                value = _read_line(kind, bytes(data[position:end]))
                position = end + 2
            while self._arrays:
                array, length = self._arrays[-1]
                array.append(value)
                if len(array) < length:
                    break
                self._arrays.pop()
                value = array
            else:
                replies.append(value)
        if len(data) - position > MOST_LINE_BYTES:
            raise InvalidResponse(f"Protocol Error: a line of more than {MOST_LINE_BYTES} bytes")
        return replies, position


def _read_line(kind: int, line: bytes) -> object:
    if kind == _STATUS:
        return line[1:]
    if kind == _INTEGER:
        return _read_integer(line[1:])
    if kind == _ERROR:
        return parse_error(line[1:].decode(errors="replace"))
    raise InvalidResponse(f"Protocol Error: {line[:100]!r}")


def _read_length(digits: bytes | bytearray) -> int | None:
    """Returns None for -1, which stands for no value."""
    length = _read_integer(digits)
    if length == -1:
        return None
    if not 0 <= length <= MOST_LENGTH:
        raise InvalidResponse(f"Protocol Error: a length of {length}")
    return length


def _read_integer(digits: bytes | bytearray) -> int:
    if not digits.removeprefix(b"-").isdigit() or len(digits) > 20:
        raise InvalidResponse(f"Protocol Error: {bytes(digits[:100])!r} is no number")
    return int(digits)
