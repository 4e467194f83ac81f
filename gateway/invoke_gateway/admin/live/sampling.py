"""Samples what the live page shows of the past, as long as the gateway runs."""

from __future__ import annotations

import asyncio

from .episodes import SAMPLE_SECONDS, Episodes
from .last_minute import STEP_SECONDS, LastMinute
from .sparklines import Sparklines


class Samples:
    """Holds the samples of one process; of several workers, `last_minute` is None in their supervisor."""

    def __init__(self, sparklines: Sparklines, episodes: Episodes, last_minute: LastMinute | None) -> None:
        self.sparklines = sparklines
        self.episodes = episodes
        self.last_minute = last_minute
        self._count = 0

    def sample(self) -> None:
        """Takes the samples that are due; called every `SAMPLE_SECONDS`."""
        self._count += 1
        self.sparklines.sample()
        self.episodes.sample()
        if self.last_minute is not None and self._count % (STEP_SECONDS / SAMPLE_SECONDS) == 0:
            self.last_minute.sample()

    async def keep_sampling(self) -> None:
        """Samples until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.sample()
