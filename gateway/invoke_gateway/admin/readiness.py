"""Makes the document of /readyz, by which balancers route clients.

A gateway is ready while it listens, does not drain, and can use its store of counters. The backend is only reported: a
gateway whose backend is down still accepts events, which would be lost if a balancer removed the last gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..counters.base import SharedState

_SETTLE_SECONDS = 1.0  # for the first check of the backend; a probe of Kubernetes waits as long by default


class BackendView(Protocol):
    """Reads the observed state of the backend."""

    def describe(self) -> dict[str, object]:
        """Returns `backend` (up, down or unknown), and `backend_error` where it is down."""


class CredentialsView(Protocol):
    """Reads the state of the credentials that sign for the backend."""

    def describe(self) -> dict[str, object]:
        """Returns `credentials` (present, missing, expiring, expired or refused) and what is known of them."""


class Readiness:
    """Makes the document of /readyz.

    listen: the address of the Invoke API
    event_trouble: returns the reason why events cannot be kept, or None
    settings_error: returns the settings that the last reload refused, or None
    settle: waits for the first check of the backend, for so many seconds
    credentials: the credentials that sign; None: the gateway does not sign
    """

    def __init__(
        self,
        *,
        listen: object,
        is_draining: Callable[[], bool],
        backend: BackendView,
        shared: SharedState | None = None,
        event_trouble: Callable[[], str | None] = lambda: None,
        settings_error: Callable[[], dict[str, object] | None] = lambda: None,
        settle: Callable[[float], Awaitable[None]] | None = None,
        credentials: CredentialsView | None = None,
    ) -> None:
        self._listen = str(listen)
        self._is_draining = is_draining
        self._backend = backend
        self._shared = shared
        self._event_trouble = event_trouble
        self._settings_error = settings_error
        self._settle = settle
        self._credentials = credentials

    @property
    def is_draining(self) -> bool:
        return self._is_draining()

    async def describe(self) -> dict[str, object]:
        """Returns the document; `ready` is the state, `why` the reason where it is false."""
        why_not = self._find_why_not()
        if self._settle is not None and why_not is None:
            await self._settle(_SETTLE_SECONDS)
        document: dict[str, object] = {"ready": why_not is None}
        if why_not is not None:
            document["why"] = why_not
        elif self._shared is not None and self._shared.trouble is not None:
            document["degraded"] = self._shared.trouble
        document |= {"listen": self._listen, **self._backend.describe()}
        if self._credentials is not None:
            document |= self._credentials.describe()
        trouble = self._event_trouble()
        if trouble is not None:
            document["events_error"] = trouble
        error = self._settings_error()
        if error is not None:
            document["settings_error"] = error
        return document

    def _find_why_not(self) -> str | None:
        if self._is_draining():
            return "The gateway is draining."
        return self._shared.why_not_ready if self._shared is not None else None
