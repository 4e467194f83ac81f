"""Runs the demo functions. Each takes a JSON text and yields its result, also JSON, in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

LONGEST_RUN = 900  # seconds; Lambda's longest time-out
_LARGEST_RESULT = 268_435_456  # bytes; a plain Invoke holds its result whole, so it needs some bound
_BLOCK = b"x" * 1_048_576

_Seconds = Annotated[int, Meta(ge=0, le=LONGEST_RUN)] | Annotated[float, Meta(ge=0, le=LONGEST_RUN)]


class SleepEvent(Struct):
    seconds: _Seconds = 1


class BlobEvent(Struct):
    bytes: Annotated[int, Meta(ge=2, le=_LARGEST_RESULT)] = 1_024


class StreamEvent(Struct):
    chunks: Annotated[int, Meta(ge=1, le=1_000_000)] = 3
    bytes: Annotated[int, Meta(ge=2, le=len(_BLOCK))] = 1_024
    seconds: _Seconds = 0

    def __post_init__(self) -> None:
        if self.chunks * self.bytes > _LARGEST_RESULT:
            raise ValueError(f"Expected at most {_LARGEST_RESULT} bytes in all")
        if (self.chunks - 1) * self.seconds > LONGEST_RUN:
            raise ValueError(f"Expected pauses of at most {LONGEST_RUN} seconds in all")


_SLEEP_EVENT = msgspec.json.Decoder(SleepEvent)
_BLOB_EVENT = msgspec.json.Decoder(BlobEvent)
_STREAM_EVENT = msgspec.json.Decoder(StreamEvent)

_Event = TypeVar("_Event")
Function = Callable[[bytes], AsyncIterator[bytes]]


class DemoFunctionError(Exception):
    """Reports the error of a function: a 200 with `X-Amz-Function-Error`, and this as its payload."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_

    def payload(self, request_id: str) -> bytes:
        return msgspec.json.encode(
            {
                "errorMessage": str(self),
                "errorType": self.type,
                "requestId": request_id,
                "stackTrace": ['  File "/var/task/demo.py", in handler\n'],
            }
        )


class Functions:
    """Holds the five functions, by name. Each takes a JSON text and yields its result, also JSON, in pieces."""

    def __init__(self) -> None:
        self.by_name: dict[str, Function] = {
            "echo": self._echo,
            "sleep": self._sleep,
            "fail": self._fail,
            "blob": self._blob,
            "stream": self._stream,
        }
        self._sleepers: set[asyncio.Future[None]] = set()
        self._is_stopping = False

    def find(self, name: str) -> Function | None:
        """Finds the function of that name; `sleep-checkout` is `sleep` under another one."""
        return self.by_name.get(name) or self.by_name.get(name.partition("-")[0])

    def __repr__(self) -> str:
        return f"<Functions sleeping={len(self._sleepers)}>"

    def start(self) -> None:
        self._is_stopping = False

    def stop(self) -> None:
        """Wakes every function that sleeps now or later, with a DemoFunctionError. May be called twice."""
        self._is_stopping = True
        for waking in self._sleepers:
            if not waking.done():
                waking.set_exception(_stopping())

    async def _echo(self, event: bytes) -> AsyncIterator[bytes]:
        yield event

    async def _sleep(self, event: bytes) -> AsyncIterator[bytes]:
        seconds = _parse_event(_SLEEP_EVENT, event).seconds
        await self._pause(seconds)
        yield msgspec.json.encode({"slept": seconds})

    def _fail(self, event: bytes) -> AsyncIterator[bytes]:
        raise DemoFunctionError("DemoError", "The function fail fails.")

    async def _blob(self, event: bytes) -> AsyncIterator[bytes]:
        inside = _parse_event(_BLOB_EVENT, event).bytes - 2
        if inside <= len(_BLOCK) - 2:
            yield b'"%b"' % _BLOCK[:inside]
            return
        yield b'"'
        for start in range(0, inside, len(_BLOCK)):
            yield _BLOCK[: inside - start]
        yield b'"'

    async def _stream(self, event: bytes) -> AsyncIterator[bytes]:
        wanted = _parse_event(_STREAM_EVENT, event)
        for number in range(wanted.chunks):
            if number:
                await self._pause(wanted.seconds)
            chunk = bytearray(_BLOCK[: wanted.bytes])
            if number == 0:
                chunk[0:1] = b'"'
            if number == wanted.chunks - 1:
                chunk[-1:] = b'"'
            yield bytes(chunk)

    async def _pause(self, seconds: float) -> None:
        if not seconds:
            return
        if self._is_stopping:
            raise _stopping()
        loop = asyncio.get_running_loop()
        waking: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, waking)
        self._sleepers.add(waking)
        try:
            await waking
        finally:
            timer.cancel()
            self._sleepers.discard(waking)


def _wake(waking: asyncio.Future[None]) -> None:
    if not waking.done():
        waking.set_result(None)


def _stopping() -> DemoFunctionError:
    return DemoFunctionError("Runtime.ExitError", "The demo backend is stopping.")


def _parse_event(decoder: msgspec.json.Decoder[_Event], event: bytes) -> _Event:
    try:
        return decoder.decode(event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DemoFunctionError("InvalidEvent", f"The event does not suit the function: {error}") from error
