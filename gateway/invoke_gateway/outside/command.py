"""Reads outside concurrency from a command that prints a number."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shlex
from collections.abc import Callable
from time import time

from .base import CannotRead, OutsideReading

COMMAND_SECONDS = 10.0
_LONGEST = 4096  # bytes that are read of what the command prints
_MOST = 1_000_000_000


class CommandConcurrency:
    """Runs a command for each reading. Its words are split as a shell does, and no shell runs it.

    seconds: the time that it may take
    now: seconds since the epoch
    """

    needs_samples = False

    def __init__(self, command: str, *, seconds: float = COMMAND_SECONDS, now: Callable[[], float] = time) -> None:
        self._words = shlex.split(command)
        self._seconds = seconds
        self._now = now

    def sample(self, own: int) -> None:
        """Does nothing: the command counts by itself."""

    async def read(self) -> OutsideReading:
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise CannotRead(f"the command {self._words[0]} cannot be run: {error.strerror or error}") from error
        try:
            assert process.stdout is not None  # it is a pipe
            async with asyncio.timeout(self._seconds):
                printed = await process.stdout.read(_LONGEST)
                status = await process.wait()
        except TimeoutError:
            raise CannotRead(f"the command {self._words[0]} did not end within {self._seconds:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if status != 0:
            raise CannotRead(f"the command {self._words[0]} ended with status {status}")
        return OutsideReading(_parse(printed, self._words[0]), self._now())


def _parse(printed: bytes, command: str) -> int:
    try:
        number = float(printed)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _MOST:
        shown = printed[:40].decode("utf-8", "replace").strip()
        raise CannotRead(f"the command {command} printed {shown!r}, which is no number of slots")
    return math.ceil(number)
