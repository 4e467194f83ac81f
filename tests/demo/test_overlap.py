"""The demo backend counts the calls that run at once."""

from __future__ import annotations

import asyncio
from typing import Any

from invoke_gateway.demo import DemoBackend


class Exchanged:
    """One request without a socket: what was sent, and what the backend counted at each of those moments."""

    def __init__(self, backend: DemoBackend, path: str, body: bytes) -> None:
        self.backend = backend
        self.sent: list[tuple[Any, str]] = []
        self._body = body
        self._scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}

    async def run(self) -> Exchanged:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self._body, "more_body": False}

        async def send(message: Any) -> None:
            self.sent.append((message, repr(self.backend._overlap)))

        await self.backend(self._scope, receive, send)
        return self

    @property
    def running(self) -> str | None:
        headers = dict(self.sent[0][0]["headers"])
        return headers[b"x-demo-running"].decode() if b"x-demo-running" in headers else None


def invocation_of(name: str) -> str:
    return f"/2015-03-31/functions/{name}/invocations"


async def test_a_call_is_told_how_many_run_of_its_function_of_the_others_and_in_all() -> None:
    backend = DemoBackend()
    names = ("sleep-a", "sleep-b", "arn:aws:lambda:us-east-1:111122223333:function:sleep-a:live")
    exchanges = [Exchanged(backend, invocation_of(name), b"{}") for name in names]
    tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
    await asyncio.sleep(0)  # one turn of the loop: all run until they wait
    backend.close()
    await asyncio.gather(*tasks)
    assert [exchange.running for exchange in exchanges] == [
        "all=1, sleep-a=1",
        "all=2, sleep-b=1, sleep-a=1",
        "all=3, sleep-a=2, sleep-b=1",
    ]
    assert repr(backend._overlap) == "<Overlap 0 {}>"


async def test_a_call_counts_no_longer_when_the_last_bytes_of_its_response_are_written() -> None:
    """Otherwise a gateway that gives the slot back on those bytes would be accused of letting one too many through."""
    backend = DemoBackend()
    buffered = await Exchanged(backend, invocation_of("echo"), b"{}").run()
    assert [count for _, count in buffered.sent] == ["<Overlap 0 {}>", "<Overlap 0 {}>"]
    path = "/2021-11-15/functions/stream/response-streaming-invocations"
    streamed = await Exchanged(backend, path, b'{"chunks":2}').run()
    while_running, over = "<Overlap 1 {'stream': 1}>", "<Overlap 0 {}>"
    assert [count for _, count in streamed.sent] == [while_running, while_running, while_running, over]


async def test_a_function_error_ends_the_count_and_events_dry_runs_and_refusals_are_not_counted() -> None:
    backend = DemoBackend()
    assert (await Exchanged(backend, invocation_of("fail"), b"{}").run()).running == "all=1, fail=1"
    assert repr(backend._overlap) == "<Overlap 0 {}>"
    assert (await Exchanged(backend, invocation_of("nothing"), b"{}").run()).running is None
    event = Exchanged(backend, "/2014-11-13/functions/sleep/invoke-async", b"{}")
    assert (await event.run()).running is None
    assert event.sent[0][1] == "<Overlap 0 {}>"
    await backend.aclose()


async def test_a_call_that_is_cancelled_is_not_counted_for_ever() -> None:
    backend = DemoBackend()
    task = asyncio.create_task(Exchanged(backend, invocation_of("sleep"), b'{"seconds":900}').run())
    await asyncio.sleep(0)
    assert repr(backend._overlap) == "<Overlap 1 {'sleep': 1}>"
    task.cancel()
    await asyncio.wait([task])
    assert repr(backend._overlap) == "<Overlap 0 {}>"


async def test_the_header_names_its_own_function_and_at_most_fifteen_others() -> None:
    backend = DemoBackend()
    exchanges = [Exchanged(backend, invocation_of(f"sleep-{number}"), b"{}") for number in range(20)]
    tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
    await asyncio.sleep(0)
    backend.close()
    await asyncio.gather(*tasks)
    total, own, *others = (exchanges[-1].running or "").split(", ")
    assert (total, own, len(others)) == ("all=20", "sleep-19=1", 15)
