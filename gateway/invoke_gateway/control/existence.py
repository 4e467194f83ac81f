"""Asks the backend which functions, versions and aliases exist, with the caller's own credentials.

A question runs the last stage of the chain with a request of the gateway's, so it uses the same connections. A positive
answer is kept for a second: tools set several values of a function in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import NamedTuple
from urllib.parse import quote

from ..asgi import EXCHANGE, App, Message, Scope
from ..exchange import Exchange
from ..invocation import Function
from ..policy.arn import make_prefix
from .base import BackendReply
from .documents import read_object

_KEPT_SECONDS = 1.0
_MOST_KEPT = 10_000
_LARGEST_REPLY = 8 * 1024 * 1024
# The client's own headers that a backend may need to find the account.
_PASSED_HEADERS = (b"host", b"authorization", b"x-amz-date", b"x-amz-security-token", b"user-agent")


class BackendHasNoAnswer(Exception):
    """Reports a reply of the backend that does not say whether a function exists."""

    def __init__(self, operation: str, status: int) -> None:
        super().__init__(operation, status)
        self.operation = operation
        self.status = status


class Alias(NamedTuple):
    """Holds an alias of the backend: its version, and the weights of further versions by version."""

    version: str | None
    weights: Mapping[str, float]


UNKNOWN_ALIAS = Alias(None, {})
"""Stands for every alias where the backend is not asked."""


class Existence:
    """Asks the backend.

    app: the last stage of the chain
    is_checked: ask at all; else everything exists
    clock: monotonic seconds
    """

    def __init__(
        self, app: App, *, region: str, is_checked: bool = True, clock: Callable[[], float] = monotonic
    ) -> None:
        self._app = app
        self._region = region
        self._is_checked = is_checked
        self._clock = clock
        self._found: dict[tuple[str, str, str], float] = {}

    async def has_function(
        self, function: Function, account: str, headers: Mapping[bytes, bytes], qualifier: str | None = None
    ) -> bool:
        """Returns whether the function, or its version or alias, exists. Raises `BackendHasNoAnswer`.

        account: the account for whose functions an answer is kept
        """
        if not self._is_checked:
            return True
        key = (account, function.name, qualifier or "")
        now = self._clock()
        if self._found.get(key, 0.0) > now:
            return True
        query = f"Qualifier={quote(qualifier, safe='')}" if qualifier else ""
        reply = await self.ask(f"/2015-03-31/functions/{self._write(function)}", query, headers)
        if not _exists(reply, "GetFunction"):
            return False
        if len(self._found) >= _MOST_KEPT:
            self._found.clear()
        self._found[key] = now + _KEPT_SECONDS
        return True

    async def find_alias(self, function: Function, alias: str, headers: Mapping[bytes, bytes]) -> Alias | None:
        """Returns an alias; None where there is none of this name. Raises `BackendHasNoAnswer`."""
        if not self._is_checked:
            return UNKNOWN_ALIAS
        path = f"/2015-03-31/functions/{self._write(function)}/aliases/{quote(alias, safe='')}"
        reply = await self.ask(path, "", headers)
        if not _exists(reply, "GetAlias"):
            return None
        return read_alias(reply)[1]

    async def list_aliases(self, function: Function, version: str, headers: Mapping[bytes, bytes]) -> list[str]:
        """Returns the aliases that point to a version and have no weights; none where the backend does not list
        them."""
        if not self._is_checked:
            return []
        path = f"/2015-03-31/functions/{self._write(function)}/aliases"
        reply = await self.ask(path, f"FunctionVersion={quote(version, safe='')}", headers)
        rows = read_object(reply.body).get("Aliases") if reply.status == 200 else None
        found = [_read_alias(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [name for name, alias in found if name is not None and alias == Alias(version, {})]

    def forget(self, account: str, name: str) -> None:
        """Forgets the answers about a function, which has changed."""
        for key in [key for key in self._found if key[:2] == (account, name)]:
            del self._found[key]

    async def ask(self, path: str, query: str, headers: Mapping[bytes, bytes]) -> BackendReply:
        """Sends a GET to the backend and returns its reply whole."""
        exchange = Exchange(monotonic())
        exchange.headers = {name: headers[name] for name in _PASSED_HEADERS if name in headers}
        exchange.headers[b"accept-encoding"] = b"identity"
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": list(exchange.headers.items()),
            EXCHANGE: exchange,
        }
        reply = CollectedReply()
        await self._app(scope, _receive_nothing, reply.send)
        return reply.whole()

    def _write(self, function: Function) -> str:
        """Returns the function's name as a path has it: with the account that the caller named."""
        if function.account is None:
            return function.name
        return quote(make_prefix(function, self._region, function.account) + function.name, safe="")


def read_alias(reply: BackendReply) -> tuple[str | None, Alias]:
    """Reads the name of an alias, and the alias, from a reply that describes one."""
    return _read_alias(read_object(reply.body))


def _read_alias(found: Mapping[str, object]) -> tuple[str | None, Alias]:
    name, version, routing = found.get("Name"), found.get("FunctionVersion"), found.get("RoutingConfig")
    weights = routing.get("AdditionalVersionWeights") if isinstance(routing, dict) else None
    alias = Alias(version if isinstance(version, str) else None, weights if isinstance(weights, dict) else {})
    return name if isinstance(name, str) else None, alias


class CollectedReply:
    """Collects a response of the backend. One that is too large is not kept."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
            return
        piece = message.get("body", b"")
        self._size += len(piece)
        if self._size <= _LARGEST_REPLY:
            self._pieces.append(piece)

    def whole(self) -> BackendReply:
        return BackendReply(self._status, self._headers, b"".join(self._pieces))


async def _receive_nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _exists(reply: BackendReply, operation: str) -> bool:
    """Returns whether the reply describes what was asked for. Raises `BackendHasNoAnswer`."""
    if 200 <= reply.status < 300:
        return True
    if reply.status == 404 and _is_not_found(reply):
        return False
    raise BackendHasNoAnswer(operation, reply.status)


def _is_not_found(reply: BackendReply) -> bool:
    """Returns whether a 404 is Lambda's, and not of a server that lacks the operation."""
    codes = [value for name, value in reply.headers if name.lower() == b"x-amzn-errortype"]
    found = read_object(reply.body)
    codes += [str(found[name]).encode() for name in ("__type", "code", "Code", "Error") if name in found]
    if codes:
        return any(b"NotFound" in code for code in codes)
    return "not found" in str(found.get("Message") or found.get("message") or "").lower()
