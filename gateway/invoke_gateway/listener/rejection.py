"""Refuses what cannot become a request, and connections above the ceiling."""

from __future__ import annotations

import asyncio

from ..exchange import new_request_id
from ..refusals import Refusal, Rendered, render
from .connection_setup import ConnectionSetup
from .cycle import STATUS_LINES
from .head import Unacceptable
from .overflow import Overflow
from .request_parser import RequestParser
from .scope import ScopeProtocol

# Connections above the ceiling that get a refusal at one time; further ones are only cut.
_ANSWERED_EXCESS = 256


def refuse(refusal: Refusal, **values: object) -> Rendered:
    """Renders a refusal in Lambda's shape."""
    rendered = render(refusal, **values)
    request_id = (b"x-amzn-requestid", new_request_id().encode())
    return rendered._replace(headers=(*rendered.headers, request_id))


class RejectionProtocol(ScopeProtocol):
    """Adds the refusals that the listener itself writes."""

    __slots__ = (
        "_answers_head",
        "_extra_headers",
        "_refuse",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        super().__init__(setup)
        self._refuse = setup.refuse
        self._extra_headers = setup.extra_headers
        # Whether what is refused is a HEAD request, whose answer has no body.
        self._answers_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        excess = len(self._connections) - self._limits.max_connections
        if excess > 0:
            self._app = Overflow(self._limits.max_connections, self._refuse, self._extra_headers)
            if excess > _ANSWERED_EXCESS:
                self.transport.abort()

    def _reject_unparsed(self, parser: RequestParser, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, Unacceptable):
            self._answers_head = parser.http.get_method() == b"HEAD"
            self.reject(cause.refusal, **cause.values)
        elif parser.http.get_method() == b"PRI":
            self.reject(Refusal.UNKNOWN_VERSION, text="HTTP/2.0")
        else:
            self.reject(Refusal.MALFORMED, text=str(error) or type(error).__name__)

    def reject(self, refusal: Refusal, **values: object) -> None:
        """Refuses bytes that cannot become a request, and closes. A whole request before them gets its
        response first."""
        if self.transport.is_closing():
            return
        running = self._running
        if running is None or running.response_complete:
            self._write_refusal(refusal, **values)
        elif running is self._cycle and running.more_body:
            if running.response_started:
                self.close()
            else:
                self._write_refusal(refusal, **values)
            running.disconnect()
        else:
            running.keep_alive = False
            self._cycle = running
            if self._parser is not None:
                self._parser.cycle = running
            self._waiting.clear()
            self.flow.resume_reading()  # to drop it: closing over unread bytes would reset that response away

    def _write_refusal(self, refusal: Refusal, **values: object) -> None:
        rendered = self._refuse(refusal, **values)
        lines = [STATUS_LINES[rendered.status], self.default_headers()]
        extra = self._find_extra_headers() if self._extra_headers is not None else ()
        length = (b"content-length", b"%d" % len(rendered.body))
        for name, value in (*rendered.headers, *extra, length, (b"connection", b"close")):
            lines += (name, b": ", value, b"\r\n")
        self.write(b"".join([*lines, b"\r\n", b"" if self._answers_head else rendered.body]))
        self.close()

    def _find_extra_headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the further headers, by the request whose body is awaited, else by the head as far as it has come."""
        assert self._extra_headers is not None
        cycle, parser = self._cycle, self._parser
        if cycle is not None and cycle.more_body:
            return self._extra_headers(dict(cycle.scope["headers"]))
        return self._extra_headers(dict(parser.headers) if parser is not None else {})
