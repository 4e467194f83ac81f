"""On loopback the admin listener answers only to names that no web site can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway.admin.host_check import LoopbackNames, is_own_name
from tests.support.sockets import Answer, Gateway, Wire, gateway


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


def ask(served: Gateway, host: str) -> Answer:
    with Wire(served.server.admin.port) as wire:
        return wire.send(f"GET /limits HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).answer()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9002", "localhost:9002", "[::1]:9002", "my.localhost", "gateway", "10.0.0.1"]
)
def test_an_address_and_a_local_name_are_answered(served: Gateway, host: str) -> None:
    assert ask(served, host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9002", "127.0.0.1.evil.example", "EVIL.example."])
def test_a_name_that_a_site_may_have_is_not(served: Gateway, host: str) -> None:
    answer = ask(served, host)
    assert answer.status == 421
    assert answer.json["error"].startswith("This listener is on loopback. Use 127.0.0.1 or localhost")


def test_a_request_without_a_name_is_no_browsers() -> None:
    assert is_own_name("")


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        ("127.0.0.1", "gateway.corp", 200),
        ("127.0.0.1", "GATEWAY.corp.:9002", 200),
        ("127.0.0.1", "evil.example", 421),
        ("::ffff:127.0.0.1", "evil.example", 421),
        ("::ffff:10.0.0.1", "evil.example", 200),
        ("::1", "evil.example", 421),
        ("10.0.0.1", "evil.example", 200),
    ],
)
async def test_the_name_of_the_settings_is_answered_and_others_on_loopback_are_not_in_any_family(
    server: str, host: str, status: int
) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "server": (server, 9002), "headers": [(b"host", host.encode())], "method": "GET"}
    await LoopbackNames(app, "gateway.corp")(scope, receive, send)
    assert sent[0]["status"] == status
