"""Provides a backend to script and a gateway before it as fixtures: one pair for each module, reset after each test.

A module may set its gateway's settings (`SETTINGS`). A module whose tests depend on the event loop sets `BOTH_LOOPS`:
then they run on uvloop, as in production, and on asyncio's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from tests.support.backends import ScriptedBackend
from tests.support.gateways import GatewayUnderTest, eventually, serving


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if getattr(item.getparent(pytest.Module).obj, "BOTH_LOOPS", False):
        factories["asyncio"] = asyncio.new_event_loop
    return factories


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ScriptedBackend, GatewayUnderTest]]:
    settings: dict[str, Any] = getattr(request.module, "SETTINGS", {})
    async with ScriptedBackend() as backend, serving(backend.url, **settings) as gateway:
        yield backend, gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(pair: tuple[ScriptedBackend, GatewayUnderTest]) -> AsyncIterator[GatewayUnderTest]:
    """Returns the module's gateway. It holds nothing before the test and must hold nothing after it."""
    backend, gateway = pair
    yield gateway
    await gateway.settled()
    await backend.close_connections()
    await eventually(lambda: not gateway.app.pool.idle, "the gateway notices that its idle connections are closed")


@pytest_asyncio.fixture(loop_scope="module")
async def backend(pair: tuple[ScriptedBackend, GatewayUnderTest], gateway: GatewayUnderTest) -> ScriptedBackend:
    """Returns the module's backend, with nothing in its memory."""
    pair[0].forget()
    return pair[0]
