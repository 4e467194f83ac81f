"""Whether a server of the store answers, and whether what it counts is complete; and the log's lines about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .fallback import IN_WORDS, Policy

log = logging.getLogger("invoke_gateway")


class Standing:
    """`where` names the server, `tell` is called whenever `why_away` or `is_refilling` has changed; `clock` gives
    monotonic seconds."""

    def __init__(
        self, where: str, gateway: str, policy: Policy, *, tell: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self.where = where
        self.why_away: str | None = "not asked yet"
        self.is_refilling = False
        self._gateway = gateway
        self._policy = policy
        self._tell = tell
        self._clock = clock
        self._away_since: float | None = None
        self._refill_until = 0.0

    @property
    def counts(self) -> bool:
        """Whether calls may be admitted by it."""
        return self.why_away is None and not self.is_refilling

    def note_away(self, why: str) -> None:
        if self.why_away is None or self._away_since is None:
            self._away_since = self._clock()
            log.error("shared counters at %s do not answer (%s): %s", self.where, why, IN_WORDS[self._policy])
        self.why_away = why
        self._tell()

    def note_back(self) -> None:
        if self.why_away is None:
            return
        if self._away_since is not None:
            seconds = self._clock() - self._away_since
            log.info("shared counters at %s answer again, after %.1f s", self.where, seconds)
            self._away_since = None
        else:
            log.info("counters shared at %s; this gateway is %s", self.where, self._gateway)
        self.why_away = None
        self._tell()

    def note_refill(self, seconds: float) -> None:
        """Nobody is admitted for so long."""
        self._refill_until = max(self._refill_until, self._clock() + seconds)
        if self.is_refilling:
            return
        self.is_refilling = True
        self._tell()
        log.warning(
            "shared counters at %s began anew: for %.1f s every gateway tells what it runs, and meanwhile %s",
            self.where,
            seconds,
            IN_WORDS[self._policy],
        )
        asyncio.get_running_loop().call_later(seconds, self._end_refill)

    def _end_refill(self) -> None:
        left = self._refill_until - self._clock()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._end_refill)
            return
        self.is_refilling = False
        self._tell()
        log.info("shared counters at %s are complete again", self.where)

    def __repr__(self) -> str:
        return f"<Standing {self.where} {self.why_away or ('refilling' if self.is_refilling else 'counts')}>"
