"""Requires the admin token: for writes, and where the settings want it for reads.

The token is compared in constant time. A browser never sends it by itself, so no other site can use it.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from time import monotonic
from typing import Literal, NamedTuple

from ..asgi import App, Receive, Scope, Send
from ..telemetry.exposition import Family, counter
from .json_documents import answer_json

log = logging.getLogger("invoke_gateway")

LOG_SECONDS = 60.0  # between two log lines about refused requests

# Probes and load balancers carry no token, and the page has no data of its own: it asks its reader for the token.
_ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/"})
_READS = frozenset({"GET", "HEAD"})

Reason = Literal["missing_token", "wrong_token", "no_token_set"]
_REASONS: tuple[Reason, ...] = ("missing_token", "wrong_token", "no_token_set")


class AccessRules(NamedTuple):
    """Holds what the settings require.

    token: the admin token; None: there is none
    reads_need_token: whether reads need it too
    """

    token: str | None = None
    reads_need_token: bool = False


class AdminAccess:
    """Decides which requests to the admin listener are served, and counts those that are refused.

    is_loopback: whether only processes of this machine can reach the listener
    """

    def __init__(self, rules: AccessRules, *, is_loopback: bool) -> None:
        self.rules = rules
        self._is_loopback = is_loopback
        self._refused: dict[Reason, int] = dict.fromkeys(_REASONS, 0)
        self._logged_at: float | None = None
        self._logged = 0

    def find_refusal(self, method: str, path: str, authorization: list[bytes]) -> Reason | None:
        """Returns the reason why a request is refused; None where it is served.

        authorization: the values of its Authorization headers
        """
        rules = self.rules
        is_read = method in _READS
        if rules.token is None:
            return None if is_read or self._is_loopback else "no_token_set"
        if is_read and (not rules.reads_need_token or path in _ALWAYS_OPEN):
            return None
        if not authorization:
            return "missing_token"
        scheme, _, given = authorization[0].partition(b" ")
        is_right = hmac.compare_digest(given.strip(), rules.token.encode())
        return None if is_right and len(authorization) == 1 and scheme.lower() == b"bearer" else "wrong_token"

    def record_refusal(self, reason: Reason, method: str, path: str, client: str, now: float) -> None:
        """Counts a refused request. Logs the first one, and then at most one a minute with the number since."""
        self._refused[reason] += 1
        if self._logged_at is not None and now - self._logged_at < LOG_SECONDS:
            return
        total = sum(self._refused.values())
        refused = total - self._logged
        log.warning(
            "admin listener: %s %r from %s refused: %s (%d refused since the last such line)",
            *(method, path[:64], client, reason, refused),
            extra={"fields": {"kind": "admin_refused", "reason": reason, "client": client, "refused": refused}},
        )
        self._logged_at, self._logged = now, total

    def families(self) -> Iterator[Family]:
        yield counter(
            "admin_requests_refused",
            "Requests to the admin listener that were refused because of the admin token, by reason.",
            ("reason",),
            [((reason,), number) for reason, number in self._refused.items()],
        )


class TokenCheck:
    """Refuses requests without the token that they need: 401, and 403 where the settings have no token."""

    def __init__(self, app: App, access: AdminAccess) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            authorization = [value for name, value in scope["headers"] if name == b"authorization"]
            reason = self._access.find_refusal(scope["method"], scope["path"], authorization)
            if reason is not None:
                client = (scope.get("client") or ("unknown",))[0]
                self._access.record_refusal(reason, scope["method"], scope["path"], client, monotonic())
                await _REFUSALS[reason](scope, receive, send)
                return
        await self.app(scope, receive, send)


_CHALLENGE = 'Bearer realm="Invoke Gateway admin"'
_MISSING = "This request needs the admin token. Send Authorization: Bearer TOKEN, or give the command --admin-token."
_WRONG = "The admin token is not the right one. Send the token that the setting admin_token names."
_NO_TOKEN = (
    "The admin listener is not on loopback, and no token is set, so it serves only reads. Set admin_token to env:NAME "
    "or file:/path, or bind admin to 127.0.0.1."
)
_REFUSALS = {
    "missing_token": answer_json({"error": _MISSING}, 401, {"www-authenticate": _CHALLENGE}),
    "wrong_token": answer_json({"error": _WRONG}, 401, {"www-authenticate": f'{_CHALLENGE}, error="invalid_token"'}),
    "no_token_set": answer_json({"error": _NO_TOKEN}, 403),
}
