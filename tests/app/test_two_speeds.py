"""A request has the same outcome at both speeds: decided in one step, or by coroutines that wait for its body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoke_gateway.app.chain import link_stages
from invoke_gateway.app.gateway import Gateway
from invoke_gateway.asgi import DONE, EXCHANGE, Message, Receive, Received, Scope, Send
from invoke_gateway.exchange import Exchange
from invoke_gateway.settings import Settings

BACKEND = "http://127.0.0.1:9"
ACCOUNT = {
    "concurrent_executions": 1_000_000,  # with so many tokens a second, no example meets an empty bucket
    "functions": {
        "closed": {"reserved_concurrent_executions": 0},
        "tenants": {"tenancy": "per_tenant"},
        "reserved": {"reserved_concurrent_executions": 100_000},
    },
}
VARYING = {b"x-amzn-requestid", b"retry-after", b"x-amz-retry-after"}


class Outcome(NamedTuple):
    """What the client got, and what the gateway noted."""

    sent: list[Message]
    forwarded: bytes | bytearray | None
    refusal: str | None
    error_kind: str | None
    is_one_step: bool


class Chain:
    """A chain with its real stages, whose last stage responds with the body that it got."""

    def __init__(self, **values: Any) -> None:
        described = {
            "backend": {"url": BACKEND},
            "accounts": {"default": ACCOUNT},
            "async": {"mode": "forward"},
            **values,
        }
        self.gateway = Gateway(Settings.model_validate(described), backend_url=BACKEND)
        for stage in self.gateway.stages:
            if "unadmitted" in stage.keywords:
                stage.keywords.update(unadmitted=self._respond, others=self._respond)
        self._app = link_stages(self.gateway.stages, self._respond)
        self._forwarded: bytes | bytearray | None = None

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        self._forwarded, exchange.status = exchange.body, 200
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def run(self, scope: Scope, pieces: list[bytes], *, in_one_step: bool) -> Outcome:
        self._forwarded = None
        sent: list[Message] = []
        left = list(pieces)

        def receive_now() -> Awaitable[Message]:
            return Received(left.pop(0) if left else None, more_body=bool(left))

        async def receive_later() -> Message:
            await asyncio.sleep(0)
            return await receive_now()

        def send_now(message: Message) -> Awaitable[None]:
            sent.append(message)
            return DONE

        async def send_later(message: Message) -> None:
            await asyncio.sleep(0)
            sent.append(message)

        scope = dict(scope)
        rest = self._app(scope, receive_now, send_now) if in_one_step else self._app(scope, receive_later, send_later)
        if rest is not DONE:
            await rest
        exchange: Exchange = scope[EXCHANGE]
        refusal = exchange.refusal.code if exchange.refusal else None
        in_use = self.gateway.counters.counts()
        assert not [name for name in in_use if "/environments/" not in name], "only a tenant's environment stays"
        assert self.gateway.buffers.in_use == 0
        return Outcome(sent, self._forwarded, refusal, exchange.error_kind, rest is DONE)


def seen(outcome: Outcome) -> object:
    """Returns what must be equal at both speeds."""
    messages = []
    for message in outcome.sent:
        headers = [header for header in message.get("headers", ()) if header[0] not in VARYING]
        messages.append((message.get("status"), headers, message.get("body")))
    return messages, outcome.forwarded, outcome.refusal, outcome.error_kind


FUNCTIONS = st.sampled_from(
    [
        "echo",
        "closed",
        "reserved",
        "tenants",
        "reserved:7",
        "arn:aws:lambda:eu-west-1:111122223333:function:echo",
        "%",
        "a b",
    ]
)
PATHS = st.one_of(
    FUNCTIONS.map(lambda name: f"/2015-03-31/functions/{name}/invocations"),
    FUNCTIONS.map(lambda name: f"/2014-11-13/functions/{name}/invoke-async"),
    FUNCTIONS.map(lambda name: f"/2021-11-15/functions/{name}/response-streaming-invocations"),
    st.sampled_from(["/", "/2015-03-31/functions/", "/2015-03-31//functions/echo/invocations"]),
)
BODIES = st.one_of(
    st.sampled_from([b"", b"{}", b'{"a": [1, null, "x"]}', b"{", b"\xff", b"[" * 50, b'"yyy"']),
    st.binary(max_size=20),
)
HEADERS = st.lists(
    st.sampled_from(
        [
            (b"x-amz-invocation-type", b"DryRun"),
            (b"x-amz-invocation-type", b"RequestResponse"),
            (b"x-amz-invocation-type", b"Event"),
            (b"x-amz-invocation-type", b"nonsense"),
            (b"x-amz-tenant-id", b"blue"),
            (b"x-amz-client-context", b"not base64"),
            (b"x-amzn-trace-id", b"Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=1:12345678:0"),
            (b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/lambda/aws4_request"),
        ]
    ),
    max_size=3,
)
QUERIES = st.sampled_from([b"", b"Qualifier=7", b"Qualifier=%20", b"X-Amz-Credential=AKIB%2F1", b"x=1"])


@pytest.mark.parametrize("faults", [False, True])
def test_both_speeds_decide_alike_for_any_request(faults: bool) -> None:
    chain = Chain(faults=faults)
    speeds = {True: 0, False: 0}

    runner = asyncio.Runner()

    @settings(max_examples=60)
    @given(st.sampled_from(["POST", "GET"]), PATHS, HEADERS, QUERIES, BODIES, st.booleans(), st.integers(0, 100))
    def decide(
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        query: bytes,
        body: bytes,
        has_length: bool,
        cut: int,
    ) -> None:
        framing = (b"content-length", b"%d" % len(body)) if has_length else (b"transfer-encoding", b"chunked")
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [*headers, (b"host", b"gateway"), framing],
            "client": ("127.0.0.1", 1),
        }
        fast = runner.run(chain.run(scope, [body], in_one_step=True))
        slow = runner.run(chain.run(scope, [body[:cut], body[cut:]], in_one_step=False))
        assert seen(fast) == seen(slow)
        speeds[fast.is_one_step] += 1
        if fast.refusal is not None and has_length:
            assert fast.is_one_step, "a refused request whose body has come waits for nothing"

    with runner:
        decide()
    assert all(speeds.values())


async def test_a_call_for_which_there_is_no_slot_is_refused_in_one_step() -> None:
    chain = Chain()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/2015-03-31/functions/closed/invocations",
        "raw_path": b"/2015-03-31/functions/closed/invocations",
        "query_string": b"",
        "headers": [(b"host", b"gateway"), (b"content-length", b"2")],
        "client": ("127.0.0.1", 1),
    }
    outcome = await chain.run(scope, [b"{}"], in_one_step=True)
    assert outcome.is_one_step
    assert [message.get("status") for message in outcome.sent] == [429, None]
