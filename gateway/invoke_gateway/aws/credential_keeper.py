"""Keeps the credentials that sign, and renews them before they expire.

A thread loads them, because loading may block for seconds. Where they cannot be renewed, the last ones stay in use
until they expire. A refused signature has them loaded again at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import time

from ..backend_errors import NoCredentials
from ..background import BackgroundTask, BackgroundTasks
from ..policy.identity.request_signer import RequestSigner, SigningCredentials
from ..policy.identity.signature_refusals import IdentityRefusal
from .credential_sources import CannotLoad, CredentialSource

log = logging.getLogger("invoke_gateway")

CREDENTIALS_CAUSE = "backend_credentials"
"""Names the cause of `degraded`."""

CHECK_SECONDS = 10.0  # between two loads; most only compare a time or the date of a file
FIRST_LOAD_SECONDS = 10.0  # that a start waits for the first credentials
EXPIRING_SECONDS = 300.0  # botocore renews 15 minutes ahead, so then at least 10 minutes of renewals have failed
_REPEAT_SECONDS = 60.0  # before the log has the same refusal again
_SOONEST_SECONDS = 1.0  # between two loads because of refusals


class CredentialKeeper:
    """Provides the signer in force.

    make_signer: makes a signer of credentials
    degraded: for each cause, whether the gateway is degraded by it
    where: what the settings call the source
    now: seconds since the epoch
    error: why they were not loaded at the last attempt
    """

    def __init__(
        self,
        source: CredentialSource,
        make_signer: Callable[[SigningCredentials], RequestSigner],
        *,
        tasks: BackgroundTasks,
        where: str = "default",
        now: Callable[[], float] = time,
    ) -> None:
        self._source = source
        self._make_signer = make_signer
        self._tasks = tasks
        self._where = where
        self._now = now
        self._signer: RequestSigner | None = None
        self._expires_at: float | None = None
        self.error: str | None = None
        self._wanted = asyncio.Event()
        self._renewing: BackgroundTask | None = None
        self._logged: dict[str, float] = {}
        self.is_refused = False
        self.refusals: dict[str, int] = {}
        self.loads = {"loaded": 0, "failed": 0}
        tasks.degraded[CREDENTIALS_CAUSE] = False

    # For the stage that signs.

    def find(self, now: float) -> RequestSigner:
        """Returns the signer in force. Raises `NoCredentials`."""
        signer = self._signer
        if signer is None or (self._expires_at is not None and now >= self._expires_at):
            raise NoCredentials
        return signer

    def record_refusal(self, refusal: IdentityRefusal) -> None:
        """Counts and logs a refusal. One of the signature has the credentials loaded again."""
        code = refusal.code or str(refusal.status)
        self.refusals[code] = self.refusals.get(code, 0) + 1
        if refusal.is_signature:
            self.is_refused = True
            self._set_degraded()
            self._source.forget()
            self._wanted.set()
        now = self._now()
        if now - self._logged.get(code, 0.0) >= _REPEAT_SECONDS:
            self._logged[code] = now
            log.error("the backend refused the gateway's own identity: %s", _describe(refusal))

    def record_success(self) -> None:
        """Records that the backend takes signatures again."""
        self.is_refused = False
        self._logged.clear()
        self._set_degraded()
        log.info("the backend takes the gateway's signatures again")

    # For the gateway.

    async def start(self) -> None:
        """Loads the first credentials, and keeps them. Waits `FIRST_LOAD_SECONDS` for them at most."""
        first = asyncio.Event()

        async def keep() -> None:
            try:
                await self.load()
            finally:
                first.set()
            await self._keep()

        self._renewing = self._tasks.start(keep, "backend credentials")
        try:
            await asyncio.wait_for(first.wait(), FIRST_LOAD_SECONDS)
        except TimeoutError:
            log.error("no credentials to sign with after %g s; calls are refused until there are", FIRST_LOAD_SECONDS)

    async def close(self) -> None:
        if self._renewing is not None:
            await self._renewing.close()

    async def load(self) -> None:
        """Loads the credentials once."""
        try:
            loaded = await asyncio.to_thread(self._source.load)
        except CannotLoad as error:
            self.loads["failed"] += 1
            self._record_failure(str(error))
        else:
            self.loads["loaded"] += 1
            self._use(loaded)
        self._set_degraded()

    @property
    def remaining_seconds(self) -> float | None:
        """Returns the seconds until the credentials expire; None where they do not, or where there are none."""
        return None if self._expires_at is None else self._expires_at - self._now()

    def describe(self) -> dict[str, object]:
        """Describes the credentials for `/readyz`, without any part of them."""
        document: dict[str, object] = {"credentials": self._state()}
        remaining = self.remaining_seconds
        if remaining is not None:
            document["credentials_expire_in_seconds"] = round(max(remaining, 0.0))
        if self.error is not None:
            document["credentials_error"] = self.error
        return document

    def _state(self) -> str:
        remaining = self.remaining_seconds
        if self._signer is None:
            return "missing"
        if remaining is not None and remaining <= EXPIRING_SECONDS:
            return "expired" if remaining <= 0 else "expiring"
        return "refused" if self.is_refused else "present"

    async def _keep(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._wanted.wait(), CHECK_SECONDS)
                await asyncio.sleep(_SOONEST_SECONDS)
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.load()

    def _use(self, loaded: SigningCredentials) -> None:
        self._expires_at = loaded.expires_at
        if self.error is not None:
            log.info("the gateway has credentials to sign with again (%s)", self._where)
            self.error = None
        if self._signer is None or self._signer.credentials[:3] != loaded[:3]:
            self._signer = self._make_signer(loaded)

    def _record_failure(self, error: str) -> None:
        if self.error != error:
            self.error = error
            left = self.remaining_seconds
            use = (
                "calls are refused"
                if self._signer is None or (left is not None and left <= 0)
                else ("the last ones stay in use" + ("" if left is None else f" for {left:.0f} s"))
            )
            log.error("no new credentials to sign with (%s): %s; %s", self._where, error, use)

    def _set_degraded(self) -> None:
        self._tasks.degraded[CREDENTIALS_CAUSE] = self._state() != "present"

    def __repr__(self) -> str:
        return f"<CredentialKeeper {self._where} {self._state()}>"


def _describe(refusal: IdentityRefusal) -> str:
    """Describes a refusal with its remedy."""
    what = f"{refusal.status} {refusal.code}: {refusal.text}".strip(": ")
    skew = refusal.skew_seconds
    if skew is not None and abs(skew) >= 1:
        which = "behind" if skew > 0 else "ahead of"
        return f"{what} The gateway's clock is {abs(skew):.0f} s {which} the backend's: synchronize it (NTP)"
    if refusal.is_signature:
        return f"{what} Check backend.sign (credentials, region), and that the key is active"
    return f"{what} Allow the gateway's role the operation (lambda:InvokeFunction)"
