"""What every fault of the backend must look like from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.backends import Script, ScriptedBackend
from tests.support.clients import check_is_service_exception, invoke
from tests.support.gateways import GatewayUnderTest

RESET = "The backend closed the connection before its response was complete."
GARBAGE = "The backend's response is not valid HTTP/1.1."
TIMEOUT = "The backend did not finish within backend.timeout_seconds."


@asynccontextmanager
async def one_fault(gateway: GatewayUnderTest, kind: str) -> AsyncIterator[None]:
    """Exactly one upstream error of `kind` is counted within the block, and none of another."""
    before = dict(gateway.app.totals.upstream_errors)
    yield
    after = dict(gateway.app.totals.upstream_errors)
    assert after == {**before, kind: before.get(kind, 0) + 1}
    assert await gateway.metric("upstream_errors_total", kind=kind) == after[kind]


async def check_is_fault(
    gateway: GatewayUnderTest, backend: ScriptedBackend, script: Script, kind: str, text: str
) -> None:
    backend.script = script
    async with one_fault(gateway, kind):
        answer = await invoke(gateway.listen)
    check_is_service_exception(answer, text)
    assert len(backend.requests) == 1, "the request must never be sent twice"
    assert gateway.app.pool.idle == 0, "the connection must not be used again"
