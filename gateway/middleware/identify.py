"""Finds out what is invoked. Only parses: whether the function exists is the backend's to say."""

from __future__ import annotations

from collections.abc import Awaitable

from ..asgi import DONE, EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..invocation import Invocation
from ..policy.target import PARAMETER_HEADERS, READ_HEADERS, BadTarget, parse_target
from ..refusals import Refusal

# Digits of the largest number that the parser accepts. More of them are leading zeros, which `int` refuses by the
# thousand.
_LONGEST_LENGTH = 20

# Paths whose meaning follows from them alone, and that are therefore read only once. Few, for the reason given for
# plans in policy/limits.
_REMEMBERED = 256


class Identify:
    def __init__(self, app: App, *, region: str) -> None:
        self.app = app
        self._region = region
        self._plain: dict[bytes, Invocation] = {}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        picked = [header for header in scope["headers"] if header[0] in READ_HEADERS]
        headers = exchange.headers = dict(picked)
        if len(headers) != len(picked):
            exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text=f"Send {_find_repeated(picked)} only once.")
            return DONE
        length = headers.get(b"content-length")
        if length is not None and len(length) > _LONGEST_LENGTH:
            headers[b"content-length"] = length.lstrip(b"0") or b"0"
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text="The only Transfer-Encoding accepted is chunked.")
            return DONE
        if scope["method"] == "POST":
            target = self._find_target(scope, headers)
            if isinstance(target, BadTarget):
                exchange.refuse(target.refusal, **target.values)
                return DONE
            exchange.invocation = target
        return self.app(scope, receive, send)

    def _find_target(self, scope: Scope, headers: dict[bytes, bytes]) -> Invocation | BadTarget | None:
        path, query = scope["raw_path"], scope["query_string"]
        if query or not PARAMETER_HEADERS.isdisjoint(headers):
            return parse_target(path, query, headers, self._region)
        known = self._plain.get(path)
        if known is None:
            target = parse_target(path, query, headers, self._region)
            if not isinstance(target, Invocation):
                return target
            if len(self._plain) >= _REMEMBERED:
                self._plain.clear()
            known = self._plain[path] = target
        return known


def _find_repeated(headers: list[tuple[bytes, bytes]]) -> str:
    names = [name for name, _ in headers]
    return next(name for name in names if names.count(name) > 1).decode("latin-1")
