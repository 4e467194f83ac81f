"""Events that were accepted for one backend, and a gateway of another one that opens their store."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main
from invoke_gateway.queue.base import LaneBacklog
from invoke_gateway.queue.location import find_file
from invoke_gateway.queue.origin import Origin, describe_backend
from invoke_gateway.queue.scheduling.lanes import LaneName, QueueKind, name_lane, split_lane
from tests.support import clients
from tests.support.backends import ScriptedBackend, says
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.processes import free_port
from tests.support.stores import Store, running_store

pytestmark = pytest.mark.usefixtures("log_at_info")

EVENT = {"x-amz-invocation-type": "Event"}
ID = "12345678-abcd-4000-8000-1234567890%02x"
ACCOUNT = "111122223333"
RETRY_SOON = {"function_error_delays_seconds": [0.05], "shortest_delay_seconds": 0.05}
FAILS = says(b"HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: 2\r\n\r\n{}")


@pytest.fixture(scope="module")
def redis() -> Iterator[Store]:
    with running_store("redis") as store:
        yield store


@pytest.fixture
def log_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "invoke_gateway")


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/queue.db"
    server: Store = request.getfixturevalue("redis")
    with server.client() as client:
        client.flushall()
    return server.url


@pytest.fixture
def away() -> str:
    """The URL of a backend that is never there, so that events wait."""
    return f"http://127.0.0.1:{free_port()}"


def gateway_before(
    url: str, store: str, *, adopts: bool = False, **changes: Any
) -> AbstractAsyncContextManager[GatewayUnderTest]:
    return serving(url, **{"async": RETRY_SOON | {"store": store, "adopt_events": adopts}, **changes})


async def send(gateway: GatewayUnderTest, *numbers: int, **headers: str) -> None:
    for number in numbers:
        given = EVENT | {"x-amzn-requestid": ID % number} | headers
        assert (await clients.invoke(gateway.listen, "report", b"{}", given)).status == 202


async def leave_events(url: str, store: str, *numbers: int, **changes: Any) -> None:
    """A gateway before `url` accepts events, and ends before they have run."""
    async with gateway_before(url, store, **changes) as gateway:
        await send(gateway, *numbers)


async def ask(gateway: GatewayUnderTest, path: str, method: str = "GET", body: bytes | None = None) -> clients.Response:
    headers = {"content-type": "application/json"}
    return await clients.call(gateway.admin, path, body, headers, method=method, host="localhost")


async def queue_of(gateway: GatewayUnderTest) -> dict[str, Any]:
    document: dict[str, Any] = (await ask(gateway, "/queue")).json()
    return document


async def command(gateway: GatewayUnderTest, *words: str) -> Result:
    arguments = ["queue", *words, "--admin", str(gateway.admin)]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


def ran(backend: ScriptedBackend) -> list[str]:
    return sorted((call.header(b"x-amzn-requestid") or b"").decode() for call in backend.requests)


async def until_ran(backend: ScriptedBackend, *numbers: int) -> None:
    await eventually(lambda: len(backend.requests) >= len(numbers), lambda: ran(backend), 20)
    assert ran(backend) == sorted(ID % number for number in numbers)


async def test_events_of_another_backend_are_held_until_they_are_adopted(
    store: str, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_events(away, store, 1, 2, 3)
    caplog.clear()
    async with ScriptedBackend() as backend:
        async with gateway_before(backend.url, store) as gateway:
            here = f"{backend.url} in us-east-1"
            assert re.search(r"events: .+ \(none waiting\)$", caplog.text, re.MULTILINE)
            assert (
                f"3 events in {gateway.app.events._location} are held: they were accepted for {away} in us-east-1"
                in caplog.text
            )
            assert f"this gateway's backend is {here}. Run them here with `invoke-gateway queue adopt`" in caplog.text
            await send(gateway, 4)
            await until_ran(backend, 4)
            document = await queue_of(gateway)
            assert (document["held"], document["waiting"], document["functions"][0]["held"]) == (3, 0, 3)
            (held,) = document["held_origins"]
            assert (held["origin"], held["events"], held["oldest_seconds"] >= 0) == (f"{away} in us-east-1", 3, True)
            assert await gateway.metric("degraded", cause="events_held") == 1
            shown = (await command(gateway)).output
            assert f"3 events held for {away} in us-east-1" in " ".join(shown.split())
            listed = json.loads((await command(gateway, "list", "--state", "held", "--json")).output)
            assert {row["state"] for row in listed["events"]} == {"held"}
            assert len(listed["events"]) == 3
            assert json.loads((await command(gateway, "list", "--state", "waiting", "--json")).output)["events"] == []
            assert ran(backend) == [ID % 4]
            assert (await command(gateway, "adopt")).output == "adopted 3 events\n"
            await until_ran(backend, 1, 2, 3, 4)
            async with asyncio.timeout(60):
                while (await queue_of(gateway))["events"]:  # noqa: ASYNC110 - the queue has no event that says so
                    await asyncio.sleep(0.01)
            assert await gateway.metric("degraded", cause="events_held") == 0
        caplog.clear()
        async with gateway_before(backend.url, store):
            assert "held" not in caplog.text


@pytest.mark.parametrize("start", ["again", "adopts"])
async def test_a_start_may_adopt_and_the_same_backend_needs_not(
    store: str, away: str, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBackend() as backend:
        await leave_events(away, store, 1, 2)
        if start == "again":
            async with gateway_before(backend.url, store) as gateway:
                assert (await queue_of(gateway))["held"] == 2
            caplog.clear()
            async with gateway_before(away.upper().replace("HTTP", "http"), store) as gateway:
                assert re.search(r"events: .+ \(2 waiting, oldest \d+ s\)", caplog.text)
                assert (await queue_of(gateway))["held"] == 0
            return
        async with gateway_before(backend.url, store, adopts=True) as gateway:
            await until_ran(backend, 1, 2)
            await eventually(lambda: "2 held events of" in caplog.text, "nothing is said of it")
        async with gateway_before(backend.url, store) as gateway:
            assert (await queue_of(gateway))["held"] == 0


async def test_one_of_several_origins_is_named_and_the_others_stay(store: str) -> None:
    first, second = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    await leave_events(first, store, 1, 2)
    await leave_events(second, store, 3)
    async with ScriptedBackend() as backend, gateway_before(backend.url, store) as gateway:
        which = await ask(gateway, "/queue/adopt", "POST", b"")
        names = f"'{first} in us-east-1' (2), '{second} in us-east-1' (1)"
        text = f"Events of several origins are held: {names}. Name one of them."
        assert (which.status, which.json()["error"]) == (409, text)
        for body, status in ((b'{"origin": "x"}', 404), (b'{"origin": 1}', 400), (b'{"a": 1}', 400), (b"[", 400)):
            assert (await ask(gateway, "/queue/adopt", "POST", body)).status == status
        plain = await clients.call(gateway.admin, "/queue/adopt", b"", method="POST", host="localhost")
        assert plain.status == 415
        result = await command(gateway, "drop", "--held")
        assert (result.exit_code, "several origins" in result.stderr) == (1, True)
        assert (await command(gateway, "drop", "--held", ID % 1)).exit_code == 2
        assert (await command(gateway, "drop", "--origin", "x", ID % 1)).exit_code == 2
        assert (await queue_of(gateway))["held"] == 3
        dropped = await command(gateway, "drop", "--held", "--origin", f"{first} in us-east-1")
        assert dropped.output == "dropped 2 events\n"
        assert [held["origin"] for held in (await queue_of(gateway))["held_origins"]] == [f"{second} in us-east-1"]
        assert (await command(gateway, "adopt", f"{second} in us-east-1")).output == "adopted 1 event\n"
        await until_ran(backend, 3)
        assert (await ask(gateway, "/queue/adopt", "POST", b"")).json() == {"adopted": 0, "is_whole": True}
        assert gateway.app.events.totals.drops["000000000000", "other", "DroppedByHand"] == 2


async def test_one_held_event_can_be_run_or_dropped_by_its_id(store: str, away: str) -> None:
    await leave_events(away, store, 1, 2, 3)
    async with ScriptedBackend() as backend, gateway_before(backend.url, store) as gateway:
        assert (await command(gateway, "retry", ID % 1)).output == f"retried {ID % 1}\n"
        assert (await command(gateway, "drop", ID % 2)).output == f"dropped {ID % 2}\n"
        await until_ran(backend, 1)
        assert (await queue_of(gateway))["held"] == 1


async def test_another_region_is_another_origin_and_so_is_an_account_without_settings(store: str) -> None:
    async with ScriptedBackend() as backend:
        signed = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/lambda/aws4_request, Signature=0"
        accounts = {
            "default": {"requests_per_second": "off"},
            ACCOUNT: {"functions": {"report": {"reserved_concurrent_executions": 1}}},
        }
        stay = asyncio.Event()

        async def script(call: Any) -> None:
            await stay.wait()
            call.close()

        backend.script = script
        async with gateway_before(
            backend.url, store, accounts=accounts, credentials={"AKIA": ACCOUNT}, drain_seconds=0
        ) as gateway:
            await send(gateway, 1, 2, authorization=signed)
        stay.set()
        await backend.close_connections()
        backend.forget()
        backend.script = ScriptedBackend().script
        async with gateway_before(backend.url, store) as gateway:
            await send(gateway, 3)
            await until_ran(backend, 3)
            assert (await queue_of(gateway))["held"] == 2
        backend.forget()
        async with gateway_before(backend.url, store, region="eu-west-1", accounts=accounts) as gateway:
            assert (await queue_of(gateway))["held"] == 2
        async with gateway_before(backend.url, store) as gateway:
            assert (await command(gateway, "adopt")).output == "adopted 2 events\n"
            await until_ran(backend, 1, 2)


async def test_a_file_of_an_earlier_version_is_held_as_of_an_unknown_backend(tmp_path: Path, away: str) -> None:
    store, path = f"sqlite://{tmp_path}/queue.db", tmp_path / "queue.db"
    await leave_events(away, store, 1)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET lane = '000000000000/function/report'")
    head = connection.execute("SELECT head FROM events").fetchone()[0]
    lane = split_lane(name_lane("000000000000", QueueKind.RUN, "report", f"{away} in us-east-1"))
    assert lane.origin == f"{away} in us-east-1"
    assert lane.origin.encode() in head
    connection.commit()
    connection.close()
    async with ScriptedBackend() as backend, gateway_before(backend.url, store) as gateway:
        assert [held["origin"] for held in (await queue_of(gateway))["held_origins"]] == ["unknown"]
        assert (await command(gateway, "adopt", "unknown")).output == "adopted 1 event\n"
        await until_ran(backend, 1)


def test_an_origin_is_scheme_host_port_and_region() -> None:
    assert describe_backend("http://LOCALHOST", "r") == "http://localhost:80 in r"
    assert describe_backend("https://[::1]:9443/", "r") == "https://[::1]:9443 in r"
    assert describe_backend("demo", "r") == "demo"
    lane = name_lane("a", QueueKind.KEEP, "x/y|z@", "https://[::1]:9443 in r")
    assert split_lane(lane) == LaneName("https://[::1]:9443 in r", "a", QueueKind.KEEP, "x/y|z@")
    assert split_lane("a/function/@b|c") == LaneName("", "a", QueueKind.RUN, "@b|c")


def test_what_has_ended_is_held_too_and_keeps_its_times() -> None:
    origin = Origin("b")
    rows = [
        LaneBacklog(name_lane("a", work, "f", "other"), 1, 0, 5.0, float(number))
        for number, work in enumerate(QueueKind)
    ]
    assert [(held.origin, held.events, held.received_at) for held in origin.sum_held(rows)] == [("other", 3, 0.0)]


def test_events_for_the_demo_backend_are_temporary_unless_a_store_is_named() -> None:
    path, is_temporary = find_file(None, 9000, is_demo=True)
    assert is_temporary
    assert path.name == "events.db"
    assert find_file("sqlite:///a/b.db", 9000, is_demo=True) == (Path("/a/b.db"), False)
    assert find_file(None, 9000)[1] is False
