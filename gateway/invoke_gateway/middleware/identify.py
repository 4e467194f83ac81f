"""Finds the operation and the function of a request. It only parses: the backend decides whether the function
exists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable

from ..asgi import DONE, EXCHANGE, HEADERS, MESSAGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.requests.request_target import READ_HEADERS, BadTarget, as_call, parse_target
from ..refusals import Refusal

_ZERO = ord("0")


class Identify:
    def __init__(self, app: App, *, region: str) -> None:
        self.app = app
        self._region = region

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        headers: dict[bytes, bytes] | None = scope.get(HEADERS)
        if headers is None:
            headers = dict(scope["headers"])
        exchange.headers = headers
        if len(headers) != len(scope["headers"]):
            repeated = _find_repeated(scope["headers"])
            if repeated is not None:
                exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text=f"Send {repeated} only once.")
                return DONE
        length = headers.get(b"content-length")
        if length is not None:  # the parser lets nothing but digits pass
            if not length.isdigit() or (length[0] == _ZERO and len(length) > 1):  # tabs behind it; an octal number
                length = length.strip().lstrip(b"0") or b"0"
                scope.pop(MESSAGE, None)
            exchange.content_length = int(length)
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text="The only Transfer-Encoding accepted is chunked.")
            return DONE
        target = parse_target(scope["raw_path"], scope["query_string"], headers, self._region)
        if target is not None and scope["method"] != "POST":
            target = as_call(target)
        if isinstance(target, BadTarget):
            exchange.refuse(target.refusal, **target.values)
            return DONE
        exchange.invocation = target
        return self.app(scope, receive, send)


def _find_repeated(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Returns the first header that a stage reads and that came more than once."""
    names = Counter(name for name, _ in headers)
    return next((name.decode("latin-1") for name, count in names.items() if count > 1 and name in READ_HEADERS), None)
