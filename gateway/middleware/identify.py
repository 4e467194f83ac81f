"""Finds out what is invoked. Only parses: whether the function exists is the backend's to say."""

from __future__ import annotations

from ..asgi import EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.target import READ_HEADERS, BadTarget, parse_target
from ..refusals import Refusal

# Digits of the largest number that the parser accepts. More of them are leading zeros, which `int` refuses by the
# thousand.
_LONGEST_LENGTH = 20


class Identify:
    def __init__(self, app: App, *, region: str) -> None:
        self.app = app
        self._region = region

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        picked = [header for header in scope["headers"] if header[0] in READ_HEADERS]
        headers = exchange.headers = dict(picked)
        if len(headers) != len(picked):
            exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text=f"Send {_find_repeated(picked)} only once.")
            return
        length = headers.get(b"content-length")
        if length is not None and len(length) > _LONGEST_LENGTH:
            headers[b"content-length"] = length.lstrip(b"0") or b"0"
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text="The only Transfer-Encoding accepted is chunked.")
            return
        if scope["method"] == "POST":
            target = parse_target(scope["raw_path"], scope["query_string"], headers, self._region)
            if isinstance(target, BadTarget):
                exchange.refuse(target.refusal, **target.values)
                return
            exchange.invocation = target
        await self.app(scope, receive, send)


def _find_repeated(headers: list[tuple[bytes, bytes]]) -> str:
    names = [name for name, _ in headers]
    return next(name for name in names if names.count(name) > 1).decode("latin-1")
