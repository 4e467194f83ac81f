"""Sends one request so many times: `python -m loadtests.bench.queue.client PORT FILE COUNT CONNECTIONS`.

`########` in it becomes the number of each. Prints, as JSON, the responses by status, the requests without a response,
and the seconds from the first to the last.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import cast

import httptools
import uvloop

MARK = b"########"


class Sending:
    """Holds the requests that are still to be sent, and the responses."""

    def __init__(self, request: bytes, count: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        self._request = request
        self._is_numbered = MARK in request
        self._count = count
        self._sent = 0

    def next(self) -> bytes | None:
        if self._sent == self._count:
            return None
        self._sent += 1
        return self._request.replace(MARK, b"%08d" % self._sent) if self._is_numbered else self._request


class Connection(asyncio.Protocol):
    """Sends one request at a time, until all are sent."""

    def __init__(self, sending: Sending) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._sending = sending
        self._parser = httptools.HttpResponseParser(self)
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's
        self._next()

    def _next(self) -> None:
        request = self._sending.next()
        self._is_waiting = request is not None
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._sending.statuses[self._parser.get_status_code()] += 1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._sending.unanswered += self._is_waiting
        self.ended.set_result(None)


async def send(port: int, request: bytes, count: int, connections: int) -> dict[str, object]:
    sending = Sending(request, count)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    opened = [await loop.create_connection(lambda: Connection(sending), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(protocol.ended for _, protocol in opened))
    return {
        "statuses": sending.statuses,
        "unanswered": sending.unanswered,
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    port, file, count, connections = sys.argv[1:]
    print(json.dumps(uvloop.run(send(int(port), Path(file).read_bytes(), int(count), int(connections)))))
