"""Implements a client that uploads in pieces, reads slowly, and hangs up in the middle, which FastHttpUser cannot."""

from __future__ import annotations

import http.client
import socket
import ssl
from types import TracebackType
from urllib.parse import urlsplit

from loadtests.load.judging import Answer

# Bytes that the kernel keeps for a slow reader: so few that the rest waits at the sender; and for one in a hurry again.
_SMALL_WINDOW, _LARGE_WINDOW = 65_536, 1_048_576


class Wire:
    """Holds one connection to `host`, an origin such as http://127.0.0.1:9001, for one call."""

    def __init__(self, host: str, *, seconds: float = 60, is_slow: bool = False) -> None:
        parts = urlsplit(host)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc, timeout=seconds)
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.netloc, timeout=seconds, context=ssl._create_unverified_context()
            )
        self._is_slow = is_slow
        self.response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Wire:
        self._connection.connect()
        if self._is_slow:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        if self.response is not None:
            self.response.close()

    def begin(self, path: str, length: int) -> None:
        """Sends the head of a POST that announces so many bytes."""
        self._connection.putrequest("POST", path, skip_accept_encoding=True)
        self._connection.putheader("Content-Length", str(length))
        self._connection.endheaders()

    def send(self, piece: bytes) -> None:
        self._connection.send(piece)

    def head(self) -> Answer:
        """Returns status and headers of the response; its body is still to be read."""
        self.response = self._connection.getresponse()
        headers = {name.lower(): value for name, value in self.response.getheaders()}
        return Answer(self.response.status, headers, b"")

    def hurry(self) -> None:
        """Stops reading slowly."""
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LARGE_WINDOW)

    def read(self, size: int) -> bytes:
        """Reads at most so many bytes of the body, none at its end. Raises OSError or HTTPException if it is cut."""
        assert self.response is not None
        return self.response.read(size)
