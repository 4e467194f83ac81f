"""A gateway that signs before a gateway that verifies: each is the other's second opinion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import quote

import pytest

from invoke_gateway.upstream.signing import SignRequests
from tests.support.backends import BackendCall, ScriptedBackend, chunk
from tests.support.clients import Client, call, check_is_service_exception, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.processes import free_port

KEY, SECRET, ACCOUNT = "AKIAFRONT", "front/secret+", "111122223333"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:checkout"
CALLERS = {KEY: {"secret": "env:FRONT_SECRET", "arn": f"arn:aws:iam::{ACCOUNT}:user/front"}}
EVENT = {"X-Amz-Invocation-Type": "Event"}


class World:
    """Holds the two gateways, and the calls that reached the backend behind both.

    statuses: the statuses of the next answers of the backend
    """

    def __init__(self, backend: ScriptedBackend, front: GatewayUnderTest, back: GatewayUnderTest) -> None:
        self.backend = backend
        self.front = front
        self.back = back
        self.bodies: list[bytes] = []
        self.targets: list[str] = []
        self.statuses: list[int] = []
        backend.on_head = self._answer

    async def _answer(self, call: BackendCall) -> None:
        self.bodies.append(await call.read_body())
        self.targets.append(call.target.decode())
        call.answer(self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def two_gateways(letters: Path, **front: Any) -> AsyncIterator[World]:
    function = {
        "maximum_retry_attempts": 0,
        "dead_letter_queue": f"file://{letters}",
        "on_success": "function:audit",
    }
    account = {"requests_per_second": "off", "functions": {"checkout": function}}
    async with (
        ScriptedBackend() as backend,
        serving(backend.url, signatures="verify", callers=CALLERS, accounts={ACCOUNT: account}) as back,
        serving(
            f"http://{back.listen}",
            backend={"url": f"http://{back.listen}", "sign": {"credentials": "env"}},
            accounts={"default": account},
            **{"async": {"shortest_delay_seconds": 0.05}},
            **front,
        ) as signing,
    ):
        yield World(backend, signing, back)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONT_SECRET", SECRET)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


TARGETS = [
    invoke_path("checkout"),
    invoke_path("checkout:prod"),
    invoke_path("checkout:prod") + "?Qualifier=prod",
    invoke_path("checkout") + "?Qualifier=%24LATEST",
    invoke_path("checkout") + "?Qualifier=$LATEST",
    invoke_path(quote(ARN, safe="")),
    invoke_path(ARN),
    invoke_path(f"{ACCOUNT}:checkout"),
    invoke_path("checkout") + "?note=caf%C3%A9%20%2B+x&note=%7E~",
]
BODIES = [
    b"",
    '{"name": "Zoë 🚀  two  blanks"}'.encode(),
    b'"' + b"x" * 262_143 + b'"',
    b'"' + b"x" * (6_291_456 - 2) + b'"',
]


async def test_calls_by_every_name_and_of_every_size(tmp_path: Path) -> None:
    async with two_gateways(tmp_path / "letters") as world:
        for target in TARGETS:
            answer = await call(world.front.listen, target, b"{}", headers={"X-Amz-Tenant-Id": "two   blanks"})
            assert answer.status == 200, (target, answer)
        assert world.targets == TARGETS, "each path is the client's own"
        for body in BODIES:
            assert (await call(world.front.listen, TARGETS[0], body)).status == 200, len(body)
        assert world.bodies[len(TARGETS) :] == BODIES


async def test_streams_and_other_operations(tmp_path: Path) -> None:
    async with two_gateways(tmp_path / "letters") as world:
        assert (await call(world.front.listen, stream_path("checkout"), b"{}")).status == 200
        assert (await call(world.front.listen, "/2015-03-31/functions", None, method="GET")).status == 200
        headers = {"Transfer-Encoding": "chunked"}
        async with Client(world.front.listen) as client:
            await client.send(request("/2015-03-31/functions", None, headers) + chunk(b'{"a": 1}') + chunk(b""))
            assert (await client.read_response()).status == 200
        assert world.bodies[-1] == b'{"a": 1}'


async def test_an_event_is_signed_at_each_run_and_its_dead_letter_is_written(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    async with two_gateways(letters) as world:
        world.statuses = [500, 200]
        assert (await call(world.front.listen, TARGETS[0], b"{}", headers=EVENT)).status == 202
        await eventually(lambda: len(world.bodies) == 3, "the second run, and the function that gets its outcome")
        assert world.targets == [TARGETS[0], TARGETS[0], invoke_path("audit")]
        world.statuses = [400]
        assert (await call(world.front.listen, TARGETS[0], b"[7]", headers=EVENT)).status == 202
        await eventually(lambda: letters.exists() and letters.read_text(), "a dead letter")
        assert world.bodies[3:] == [b"[7]"]


async def test_the_client_needs_no_signature_and_the_second_gateway_counts_the_first(tmp_path: Path) -> None:
    async with two_gateways(tmp_path / "letters") as world:
        direct = await call(world.back.listen, TARGETS[0], b"{}")
        assert (direct.status, direct.header("x-amzn-errortype")) == (403, "MissingAuthenticationTokenException")
        stale = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAOTHER/20200101/x/s3/aws4_request, Signature=0"}
        assert (await call(world.front.listen, TARGETS[0], b"{}", headers=stale)).status == 200


@pytest.mark.parametrize(("skew", "which"), [(-600, "600 s behind"), (600, "600 s ahead of")])
async def test_a_wrong_clock_is_named_in_the_log_and_no_fault_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, skew: int, which: str
) -> None:
    monkeypatch.setattr(SignRequests.__init__, "__kwdefaults__", {"now": lambda: time() + skew})
    async with two_gateways(tmp_path / "letters") as world:
        answer = await call(world.front.listen, TARGETS[0], b"{}")
        check_is_service_exception(answer, "403 InvalidSignatureException")
        assert world.bodies == []
        found = [line for line in caplog.messages if "refused the gateway's own identity" in line]
        assert len(found) == 1
        words = found[0].replace("599 s", "600 s").replace("601 s", "600 s")
        assert f"clock is {which} the backend's: synchronize it (NTP)" in words


async def test_a_wrong_secret_is_no_fault_of_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    async with two_gateways(tmp_path / "letters") as world:
        check_is_service_exception(await call(world.front.listen, TARGETS[0], b"{}"), "403 InvalidSignatureException")
        assert (await call(world.front.listen, TARGETS[0], b"{}", headers=EVENT)).status == 202
        await eventually(lambda: world.front.app.degraded["backend_refuses_events"], "the event waits")
        assert world.bodies == []


async def test_without_credentials_no_slot_is_kept_and_an_event_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with two_gateways(tmp_path / "letters") as world:
        for _ in range(3):
            answer = await call(world.front.listen, TARGETS[0], b"{}")
            check_is_service_exception(answer, "no credentials with which to sign")
        answer = await call(world.front.listen, "/2015-03-31/functions", b'{"a": 1}')
        check_is_service_exception(answer, "no credentials with which to sign")
        await world.front.settled()
        assert (await call(world.front.listen, TARGETS[0], b"{}", headers=EVENT)).status == 202
        await eventually(lambda: world.front.app.degraded["backend_refuses_events"], "the event waits")
        readyz = (await call(world.front.admin, "/readyz", None, method="GET", host="localhost")).json()
        assert (readyz["ready"], readyz["credentials"]) == (True, "missing")
        assert "AWS_ACCESS_KEY_ID" in readyz["credentials_error"]
        assert world.front.app.degraded["backend_credentials"]


@pytest.mark.parametrize("size", [10, 200_000])
async def test_an_operation_for_a_backend_that_is_down_is_answered_and_its_body_is_released(size: int) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with serving(url, backend={"url": url, "sign": {"credentials": "env"}}) as gateway:
        answer = await call(gateway.listen, "/2015-03-31/functions", b"x" * size)
        check_is_service_exception(answer, "The backend refused the connection")
        await gateway.settled()


async def test_an_operation_beyond_the_buffers_is_refused() -> None:
    async with (
        ScriptedBackend() as backend,
        serving(
            backend.url, backend={"url": backend.url, "sign": {"credentials": "env"}}, buffer_bytes=1000
        ) as gateway,
    ):
        answer = await call(gateway.listen, "/2015-03-31/functions", b"x" * 1001)
        assert (answer.status, "buffers are full" in answer.json()["Message"]) == (503, True)
        async with Client(gateway.listen) as client:
            chunked = request("/2015-03-31/functions", None, {"Transfer-Encoding": "chunked"})
            await client.send(chunked + chunk(b"x" * 900) + chunk(b"x" * 900) + chunk(b""))
            assert (await client.read_response()).status == 503
        await gateway.settled()
        assert backend.requests == []
