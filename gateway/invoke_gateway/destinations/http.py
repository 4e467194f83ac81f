"""Sends messages as HTTP/1.1 POST requests, with or without TLS, on one connection each."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress
from urllib.parse import quote

import httptools

from ..dialing import Dialer
from ..policy.events.destination_url import HttpTarget
from ..queue.base import DeliveryFailed
from .message import Message

_REST_SECONDS = 1.0  # for the body of a response whose status is known
_MOST_BYTES_READ = 65_536  # of that body
_MOST_SHOWN = 200  # characters of it in an error
_IN_A_HEADER = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Endpoints:
    """Delivers to HTTP endpoints. Certificates are checked by the system's authorities, or those that SSL_CERT_FILE
    names."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        self._dialers: dict[tuple[str, int], Dialer] = {}

    async def deliver(self, endpoint: HttpTarget, message: Message) -> None:
        """Sends the message; any status from 200 to 299 is a success. A cancellation closes the connection.

        Raises `DeliveryFailed`.
        """
        if endpoint.is_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        answer = _Answer()
        dialer = self._dialers.setdefault((endpoint.host, endpoint.port), Dialer(endpoint.host, endpoint.port))
        try:
            await _exchange(dialer, self._tls if endpoint.is_tls else None, make_request(endpoint, message), answer)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise DeliveryFailed("its response is not HTTP/1.1; check that it is an HTTP server") from error
        except ssl.SSLCertVerificationError as error:
            raise DeliveryFailed(f"{error.verify_message}; have SSL_CERT_FILE name its authority") from error
        except ssl.SSLError as error:
            raise DeliveryFailed(f"{error.reason or error}; check that it speaks TLS") from error
        # UnicodeError comes from names that no resolver takes, RuntimeError from uvloop for a write after a reset.
        except (OSError, UnicodeError, RuntimeError) as error:
            raise DeliveryFailed(f"{error}; check that it runs and is reachable") from error
        if answer.status is None:
            raise DeliveryFailed("it closed the connection without a response; check its log")
        if not 200 <= answer.status < 300:
            raise DeliveryFailed(answer.describe())

    async def close(self) -> None:
        """Does nothing: no connection is kept."""


def make_request(endpoint: HttpTarget, message: Message) -> bytes:
    """Returns the bytes of the request. A character that no header may have, and the percent sign, is percent-encoded
    UTF-8."""
    fields: dict[str, str | int] = {
        "Host": endpoint.authority,
        "User-Agent": "invoke-gateway",
        "Content-Type": "application/json",
        "Content-Length": len(message.body),
        "Connection": "close",
        "Idempotency-Key": message.id,
        "X-Invoke-Gateway-Kind": message.kind,
        "X-Invoke-Gateway-Function": message.event.arn,
    }
    if endpoint.credentials is not None:
        fields["Authorization"] = f"Basic {base64.b64encode(endpoint.credentials.encode()).decode()}"
    if (attributes := message.attributes) is not None:
        fields["X-Invoke-Gateway-Request-Id"] = attributes["RequestID"]
        fields["X-Invoke-Gateway-Error-Code"] = attributes["ErrorCode"]
        fields["X-Invoke-Gateway-Error-Message"] = quote(str(attributes["ErrorMessage"]), safe=_IN_A_HEADER)
    lines = [f"POST {endpoint.resource} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + message.body


async def _exchange(dialer: Dialer, tls: ssl.SSLContext | None, request: bytes, answer: _Answer) -> None:
    reader, writer = await dialer.open_streams(tls=tls)
    try:
        # Not drained: a server may respond before it has read the whole request.
        writer.write(request)
        while answer.status is None and (data := await reader.read(_MOST_BYTES_READ)):
            answer.feed(data)
        # The status decides. The body is read so that the server can finish, and for the error's text.
        with suppress(TimeoutError, OSError, httptools.HttpParserError):
            async with asyncio.timeout(_REST_SECONDS):
                while answer.wants_more and (data := await reader.read(_MOST_BYTES_READ)):
                    answer.feed(data)
    finally:
        writer.transport.abort()


class _Answer:
    """Holds the response read so far. `status` is None after interim responses (1xx) only."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._line = b""
        self._body = b""
        self._read = 0
        self._is_complete = False

    @property
    def wants_more(self) -> bool:
        return not self._is_complete and self._read < _MOST_BYTES_READ

    def describe(self) -> str:
        text = " ".join(self._body.decode(errors="replace").split())[:_MOST_SHOWN]
        shown = f"it responded {self.status} {self._line.decode('latin-1')}".rstrip()
        if text:
            shown += f": {''.join(c if c.isprintable() else '?' for c in text)}"
        is_redirect = self.status is not None and 300 <= self.status < 400
        return f"{shown}; redirects are not followed: give the address they lead to" if is_redirect else shown

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        self._line = b""

    def on_status(self, line: bytes) -> None:
        self._line += line

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self.status = status if status >= 200 else None

    def on_body(self, data: bytes) -> None:
        self._read += len(data)
        self._body = (self._body + data)[: 4 * _MOST_SHOWN]

    def on_message_complete(self) -> None:
        self._is_complete = self.status is not None
