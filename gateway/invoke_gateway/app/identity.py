"""Composes the verification of callers, or its null twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..background import BackgroundTask, BackgroundTasks
from ..buffers import Buffers
from ..identity.key_ring import KeyRing, KeySource
from ..middleware.admission import Precheck, VerifiedPrecheck
from ..middleware.authorize import PermissionCheck
from ..middleware.verify_signature import VerifySignature
from ..policy.identity.authorization import SIGNATURE_CAUSES
from ..settings import Settings
from ..settings.models.callers import account_of, is_arn
from ..telemetry.totals import Totals
from .chain import Stages
from .limits import Tables


class Identity:
    """Verifies callers where the settings have `signatures: verify`. Else it does nothing.

    tables: returns the tables in force
    totals: count the refusals
    """

    def __init__(
        self,
        settings: Settings,
        tasks: BackgroundTasks,
        tables: Callable[[], Tables],
        buffers: Buffers,
        totals: Totals,
    ) -> None:
        self._tasks = tasks
        self._task: BackgroundTask | None = None
        self.ring: KeyRing | None = None
        if settings.signatures == "verify":
            ring = self.ring = KeyRing(tasks.degraded, watches=settings.watch)
            # Also what has not happened: of a series that begins at 1, Prometheus cannot see the rise.
            totals.signature_refusals = dict.fromkeys(SIGNATURE_CAUSES, 0)
            self._stage = partial(
                VerifySignature,
                ring=ring,
                tables=tables,
                region=settings.region,
                buffers=buffers,
                on_refused=totals.record_unverified,
                authorize=PermissionCheck(lambda: tables().permissions),
            )

    def arrange(self, authenticate: partial[Any], judging: Stages, reading: Stages) -> Stages:
        """Returns the stages from the caller to the body in their order. Only verified callers meet the stages that
        judge a call, so these stages stand behind the body, whose hash the signature may cover.

        judging: stages that refuse a call by its function
        reading: stages that check the size of the body, check for room, and read the body
        """
        if self.ring is None:
            return [authenticate, *judging, *reading]
        verified = [partial(VerifiedPrecheck, **each.keywords) if each.func is Precheck else each for each in reading]
        return [self._stage, *verified, *judging]

    async def adopt(self, settings: Settings) -> None:
        """Puts the access keys of `settings` in force, with secrets that are read now."""
        if self.ring is not None:
            await self.ring.adopt(list_key_sources(settings))

    async def start(self, settings: Settings) -> None:
        if self.ring is not None:
            await self.adopt(settings)
            self._task = self._tasks.start(self.ring.keep_fresh, "secrets")

    async def close(self) -> None:
        if self._task is not None:
            await self._task.close()


def list_key_sources(settings: Settings) -> Iterator[KeySource]:
    """Lists the access keys of the settings that can be verified."""
    for name, entry in settings.callers.items():
        if not is_arn(name) and entry.secret is not None and entry.arn is not None:
            yield KeySource(name, entry.arn, account_of(entry.arn), entry.secret, entry.session_token)
