"""A shop's functions under load: a gateway with a backend whose functions take their time, and callers that come in
waves. Everything on loopback, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.backends import BackendCall
from tests.support.sockets import Gateway, Wire, invoke

JSON = "Content-Type: application/json"


class Job(NamedTuple):
    """A function: how long it runs in seconds, how many callers it has, how long its waves are, in which account."""

    seconds: float
    callers: int
    wave: float = 0.0
    account: str | None = None


JOBS = {
    "checkout": Job(0.4, 24, 47),
    "search": Job(0.12, 14, 23),
    "report-monthly": Job(6.0, 4),
    "thumbnails": Job(0.8, 30, 61),
    "orders-api": Job(0.25, 16, 31),
    "send-email": Job(0.6, 10, 13),
    "login": Job(0.15, 7, 19),
    "audit-log": Job(0.05, 5),
    "price-feed": Job(1.5, 6, 29),
    "migrate-legacy": Job(0.1, 1),
    "nightly-export": Job(20.0, 2),
    "video-encode": Job(9.0, 9, 40, "111122223333"),
    "video-preview": Job(0.7, 8, 17, "111122223333"),
}
ACCOUNTS: dict[str, Any] = {
    "default": {
        "concurrent_executions": 80,
        "unreserved_floor": 0,
        "requests_per_second": "off",
        "functions": {
            "checkout": {"reserved_concurrent_executions": 20},
            "search": {"reserved_concurrent_executions": 12},
            "report-monthly": {"reserved_concurrent_executions": 4},
            "migrate-legacy": {"reserved_concurrent_executions": 0},
            **{name: {} for name in ("thumbnails", "orders-api", "send-email", "login", "audit-log")},
            **{name: {} for name in ("price-feed", "nightly-export", "refund", "newsletter", "import-stock")},
        },
    },
    "111122223333": {
        "concurrent_executions": 16,
        "unreserved_floor": 0,
        "requests_per_second": "off",
        "functions": {"video-encode": {"reserved_concurrent_executions": 6}, "video-preview": {}},
    },
}


class Shop(Gateway):
    """A gateway before the shop's functions."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"accounts": ACCOUNTS, **settings})

    async def answer_call(self, call: BackendCall) -> None:
        job = JOBS.get(call.function or "")
        if job is not None:
            await asyncio.sleep(job.seconds * random.uniform(0.7, 1.3))
        call.answer()

    def hold(self, **wanted: Any) -> None:
        self._post("/holds", wanted)

    def add_script(self, **wanted: Any) -> None:
        self._post("/faults", wanted)

    def _post(self, path: str, document: dict[str, Any]) -> None:
        with Wire(self.server.admin.port) as wire:
            assert wire.send(invoke("", json.dumps(document).encode(), JSON, path=path)).answer().status == 201

    def enqueue(self, function: str, events: int, account: str = "000000000000") -> None:
        """Invokes asynchronously."""
        signed = f"Authorization: AWS4-HMAC-SHA256 Credential={account}/d/r/lambda/aws4_request"
        for _ in range(events):
            request = invoke(function, b"{}", "X-Amz-Invocation-Type: Event", "X-Amz-Date: x\r\n" + signed)
            assert self.send(request).status == 202

    @contextlib.contextmanager
    def busy(self, part: float = 1.0, without: tuple[str, ...] = ()) -> Iterator[None]:
        """A part of its callers call for the length of the block."""
        load = asyncio.run_coroutine_threadsafe(self._load(part, without), self._loop)
        try:
            yield
        finally:
            load.cancel()

    async def _load(self, part: float, without: tuple[str, ...]) -> None:
        async with asyncio.TaskGroup() as group:
            for name, job in JOBS.items():
                for number in range(0 if name in without else int(job.callers * part)):
                    group.create_task(self._call_again_and_again(name, job, number))

    async def _call_again_and_again(self, name: str, job: Job, number: int) -> None:
        """One caller, on one connection. The later callers come only at the height of a wave."""
        account = [f"X-Amz-Date: x\r\nAuthorization: AWS4-HMAC-SHA256 Credential={job.account}/d/r/lambda/aws4_request"]
        request = invoke(name, b"{}", *(account if job.account else []))
        loop = asyncio.get_running_loop()
        while True:
            height = 0.5 + 0.5 * math.sin(loop.time() / job.wave * 2 * math.pi) if job.wave else 1.0
            if number > 1 and number / job.callers > 0.35 + 0.65 * height:
                await asyncio.sleep(1)
                continue
            status = await self._call_once(request)
            # Whoever is throttled waits, as an SDK does.
            await asyncio.sleep(random.uniform(0.4, 1.6) if status == 429 else random.uniform(0.02, 0.12))

    async def _call_once(self, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1])
        finally:
            writer.close()


@contextlib.contextmanager
def shop(**settings: Any) -> Iterator[Shop]:
    """A shop for the length of the block."""
    started = Shop(**settings).start()
    try:
        yield started
    finally:
        started.stop()
