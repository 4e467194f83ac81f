"""Lets web pages read the gateway's answers: Cross-Origin Resource Sharing (the Fetch standard, section 3.2).

A browser shows a page the answer of another origin only if that answer names the page's origin. Without it the page
sees a failed request, whatever the status, and an SDK in it tries again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Headers = list[tuple[bytes, bytes]]

ANY = "*"

# Headers that SDKs read and that browsers hide unless they are listed. A browser's clock is corrected by Date.
_EXPOSED = (
    b"Date, Retry-After, x-amz-retry-after, x-amzn-RequestId, x-amzn-ErrorType, x-amzn-Trace-Id, "
    b"x-amzn-Remapped-Content-Length, X-Amz-Function-Error, X-Amz-Log-Result, X-Amz-Executed-Version, "
    b"X-Amz-Durable-Execution-Arn, x-invoke-gateway-decision"
)
_METHODS = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_MAX_AGE = b"7200"  # seconds that a browser may remember a preflight's answer; Chromium takes no more
_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_OURS = b"access-control-"


class CorsRules:
    """Decides which origins may read responses.

    allow_origins: origins as browsers send them, or only `*`
    """

    def __init__(self, allow_origins: Iterable[str]) -> None:
        origins = frozenset(origin.encode("ascii") for origin in allow_origins)
        self._allows_any = ANY.encode() in origins
        self._origins = origins

    def allows(self, origin: bytes) -> bool:
        return self._allows_any or origin in self._origins

    def for_response(self, request: Mapping[bytes, bytes]) -> Headers:
        """Returns the headers to add to a response, by the headers of its request."""
        origin = request.get(b"origin")
        headers: Headers = [] if self._allows_any else [(b"vary", b"Origin")]
        if origin is not None and self.allows(origin):
            headers += (
                (b"access-control-allow-origin", b"*" if self._allows_any else origin),
                (b"access-control-expose-headers", _EXPOSED),
            )
        return headers

    def for_preflight(self, request: Mapping[bytes, bytes]) -> Headers:
        """Returns the headers of the answer to a preflight from an allowed origin."""
        varies = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        headers: Headers = [
            (b"access-control-allow-origin", b"*" if self._allows_any else request[b"origin"]),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _MAX_AGE),
            (b"vary", varies),
        ]
        wanted = request.get(b"access-control-request-headers", b"")
        if _NAMES.fullmatch(wanted):  # `*` would not cover Authorization
            headers.append((b"access-control-allow-headers", wanted))
        # A page of any public site should not reach a private network because every origin is allowed.
        if request.get(b"access-control-request-private-network") == b"true" and not self._allows_any:
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers


def is_preflight(method: str, request: Mapping[bytes, bytes]) -> bool:
    """Returns whether a browser sends this request of its own accord, before one of its page's."""
    return method == "OPTIONS" and b"origin" in request and b"access-control-request-method" in request


def replace(headers: Iterable[tuple[bytes, bytes]], added: Headers) -> Headers:
    """Returns a response's headers with `added` in place of the backend's own rules; what the backend exposes besides
    stays exposed."""
    kept: Headers = []
    exposed = []
    for header in headers:
        if not header[0].startswith(_OURS):
            kept.append(header)
        elif header[0] == b"access-control-expose-headers" and header[1].strip() not in (b"", b"*"):
            exposed.append(header[1])
    for name, value in added:
        if exposed and name == b"access-control-expose-headers":
            value = b", ".join([value, *exposed])
        kept.append((name, value))
    return kept
