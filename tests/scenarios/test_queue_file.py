"""The queue's file is moved while a gateway runs: what its clients, its operators and its next start see."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.backends import ScriptedBackend
from tests.support.gateways import GatewayUnderTest, eventually, serving

EVENT = {"x-amz-invocation-type": "Event"}


async def send_event(gateway: GatewayUnderTest) -> clients.Response:
    return await clients.invoke(gateway.listen, "report", b"{}", headers=EVENT)


async def trouble(gateway: GatewayUnderTest) -> str | None:
    answer = await clients.call(gateway.admin, "/queue", None, method="GET", host="localhost")
    said: str | None = answer.json()["trouble"]
    return said


@pytest.mark.parametrize("what", ["folder", "file", "lock"])
async def test_events_are_refused_until_the_file_is_at_its_place_again(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "queue.db"
    place = {"folder": path.parent, "file": path, "lock": path.with_name("queue.db.lock")}[what]
    settings = {"async": {"store": f"sqlite://{path}"}}
    async with ScriptedBackend() as backend, serving(backend.url, **settings) as gateway:
        assert (await send_event(gateway)).status == 202
        await eventually(lambda: backend.requests, "the event was not run")
        os.rename(place, moved := tmp_path / "moved")
        async with clients.Client(gateway.listen) as client:
            for _ in range(2):  # by one connection, which stays open
                answer = await client.call(clients.invoke_path("report"), b"{}", EVENT)
                assert (answer.status, answer.header("x-amzn-errortype")) == (500, "ServiceException")
                said = json.loads(answer.body)
                assert (said["Type"], list(said)) == ("Service", ["Type", "Message"])
                assert f"The event is not stored. The queue's {'lock' if what == 'lock' else 'file'}" in said["Message"]
        assert "was removed or moved" in str(await trouble(gateway))
        assert await gateway.metric("degraded", cause="event_store") == 1
        assert caplog.text.count("was removed or moved") == 1
        assert gateway.in_flight == 0
        os.rename(moved, place)
        await eventually(lambda: gateway.app.events.dispatcher.store.problem is None, "trouble stays", 30)
        assert await gateway.metric("degraded", cause="event_store") == 0
        assert (await send_event(gateway)).status == 202
        await eventually(lambda: len(backend.requests) == 2, "the second event was not run")
