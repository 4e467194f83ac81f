"""Reads the files of JSON lines that the gateways wrote of failed events, and the time of each line."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .history import EVENT_ID

POLL_SECONDS = 0.05


class DeadLetter(NamedTuple):
    """One line about one event. The line was not there at `after`, and was at `before`."""

    id: str
    text: str
    after: float
    before: float


class DeadLetterFile:
    """`async with Letters(path, clock)` watches a file grow."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._moments = [clock()]
        self._sizes = [0]
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> DeadLetterFile:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self.poll()

    async def _watch(self) -> None:
        while True:
            self.poll()
            await asyncio.sleep(POLL_SECONDS)

    def poll(self) -> None:
        """Records the length of the file now."""
        size = self.path.stat().st_size if self.path.exists() else 0
        self._moments.append(self._clock())
        self._sizes.append(size)

    def read(self) -> tuple[list[DeadLetter], list[str]]:
        """Returns a letter for each event that a line names, and the lines that are not JSON, such as one that a
        killed gateway began."""
        if not self.path.exists():
            return [], []
        letters, unreadable, end = [], [], 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            end += len(line)
            text = line.decode(errors="replace").strip()
            try:
                json.loads(text)
            except ValueError:
                unreadable.append(text)
                continue
            index = min(bisect_left(self._sizes, end), len(self._sizes) - 1)
            after, before = self._moments[max(0, index - 1)], self._moments[index]
            letters += [DeadLetter(id, text, after, before) for id in sorted(set(EVENT_ID.findall(text)))]
        return letters, unreadable
