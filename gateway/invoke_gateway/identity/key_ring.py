"""Holds the access keys in force, and reads their secrets again: on a reload, before they expire, when a file changes.

If a source cannot be read, the last secret stays in force until it expires.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, MutableMapping
from pathlib import Path
from time import time
from typing import NamedTuple

from ..invocation import Caller
from ..policy.identity.access_keys import AccessKey, AccessKeys
from .secret_sources import SecretReader, UnreadableSecret

log = logging.getLogger("invoke_gateway")

CAUSE = "secrets_unreadable"
EARLY_SECONDS = 300.0  # before its end, a secret is read again
RETRY_SECONDS = 30.0  # after a failure, or where a source still has the old secret
POLL_SECONDS = 1.0


class KeySource(NamedTuple):
    """Names one access key, its caller, and the sources of its secret and of its session token."""

    access_key_id: str
    arn: str
    account: str
    secret: str
    session_token: str | None = None


class SecretsReading(NamedTuple):
    """Holds what was read: the keys, and for each key that could not be read, the reason."""

    keys: AccessKeys
    problems: dict[str, UnreadableSecret]


def read_keys(sources: Iterable[KeySource], reader: SecretReader | None = None) -> SecretsReading:
    """Reads the secrets of all access keys. It may wait for commands, so it runs in a thread."""
    reader = reader or SecretReader()
    keys: dict[str, AccessKey] = {}
    problems = {}
    for source in sources:
        try:
            found = reader.read(source.secret, source.access_key_id)
            token = found.session_token
            if source.session_token is not None:
                token = reader.read_token(source.session_token, source.access_key_id)
        except UnreadableSecret as error:
            problems[source.access_key_id] = error
        else:
            caller = Caller(source.access_key_id, source.account, source.arn)
            encoded = None if token is None else token.encode()
            keys[source.access_key_id] = AccessKey(found.secret, caller, encoded, found.expires_at)
    return SecretsReading(keys, problems)


class KeyRing:
    """Holds the access keys of one gateway.

    degraded: for each cause, whether the gateway is degraded by it
    watches: files are read again when they change
    clock: seconds since the epoch
    """

    def __init__(
        self, degraded: MutableMapping[str, bool], *, watches: bool = False, clock: Callable[[], float] = time
    ) -> None:
        self.keys: AccessKeys = {}
        self._sources: tuple[KeySource, ...] = ()
        self._degraded = degraded
        self._degraded[CAUSE] = False
        self._failing: Collection[str] = ()
        self._watches = watches
        self._clock = clock
        self._seen: dict[str, object] = {}
        self._replacing = asyncio.Lock()
        self._changed = asyncio.Event()

    async def adopt(self, sources: Iterable[KeySource]) -> None:
        """Puts the access keys of `sources` in force, with secrets that are read now."""
        self._sources = tuple(sources)
        await self.refresh()
        self._changed.set()

    async def refresh(self) -> None:
        """Reads all secrets again."""
        async with self._replacing:
            sources = self._sources
            self._seen = self._look_at_files()
            reading = await asyncio.to_thread(read_keys, sources)
            kept = {name: self.keys[name] for name in reading.problems if name in self.keys}
            changed = sum(self.keys.get(name) != key for name, key in reading.keys.items())
            self.keys = {**kept, **reading.keys}
            self._report(reading.problems, changed)

    def _report(self, problems: dict[str, UnreadableSecret], changed: int) -> None:
        failing, self._failing = self._failing, problems.keys()
        self._degraded[CAUSE] = bool(problems)
        for name, problem in problems.items():
            if name not in failing:
                text = "the secret of %s is not read, so the last one stays in force: %s"
                log.error(text, name, problem, extra={"fields": {"kind": "secret_unreadable", "access_key_id": name}})
        if changed or (failing and not problems):
            known = len(self.keys)
            extra = {"fields": {"kind": "secrets_read", "access_keys": known, "changed": changed}}
            log.info("secrets read: %d access keys, %d of them new or changed", known, changed, extra=extra)

    async def keep_fresh(self) -> None:
        """Reads the secrets again before they expire, and with `watches` when a file changes."""
        while True:
            self._changed.clear()
            due = self.find_due()
            if await self._wait(due):
                await self.refresh()

    def find_due(self) -> float | None:
        """Returns the time at which secrets are read again (seconds since the epoch)."""
        now = self._clock()
        ends = [key.expires_at - EARLY_SECONDS for key in self.keys.values() if key.expires_at is not None]
        soonest = min(ends, default=None)
        if self._degraded[CAUSE]:
            return now + RETRY_SECONDS
        return None if soonest is None else max(soonest, now + RETRY_SECONDS)

    async def _wait(self, due: float | None) -> bool:
        """Waits until secrets are to be read again. Returns False if other sources are in force now."""
        has_files = self._watches and any(_files_of(source) for source in self._sources)
        while due is None or self._clock() < due:
            left = None if due is None else max(due - self._clock(), 0.0)
            seconds = POLL_SECONDS if has_files and (left is None or left > POLL_SECONDS) else left
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                if has_files and self._look_at_files() != self._seen:
                    return True
            else:
                return False
        return True

    def _look_at_files(self) -> dict[str, object]:
        names = {name for source in self._sources for name in _files_of(source)}
        return {name: _describe_file(name) for name in names}


def _files_of(source: KeySource) -> list[str]:
    both = (source.secret, source.session_token or "")
    return [each.partition(":")[2] for each in both if each.startswith("file:")]


def _describe_file(name: str) -> object:
    try:
        found = Path(name).stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
