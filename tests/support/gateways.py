"""Runs a gateway in the test's own process, behind real sockets, so that the test can read its counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from invoke_gateway.server.run import RunningGateway, serve_in_process
from invoke_gateway.settings import Address, Settings

from . import clients

# Rates would refuse a burst before the slots do; the tests of slots switch them off.
UNRATED = {"requests_per_second": "off"}

PATIENCE = 60.0  # seconds after which what should happen has not happened, on a busy machine too


def make_settings(backend_url: str, **changes: Any) -> Settings:
    """Returns settings on free ports before `backend_url`; `changes` are merged into the mapping, one level deep."""
    values: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "backend": {"url": backend_url},
        "accounts": {"default": UNRATED},
        "drain_seconds": 2,
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return Settings.model_validate(values)


class GatewayUnderTest:
    """Holds a running gateway. `listen` and `admin` are its addresses."""

    def __init__(self, server: RunningGateway) -> None:
        self._server = server
        self.app = server.gateway
        self.listen: Address = server.listen
        self.admin: Address = server.admin

    @property
    def in_flight(self) -> int:
        """Returns the slots that are held, over all accounts."""
        return sum(count for name, count in self.app.counters.counts().items() if name.endswith("/account"))

    @property
    def client_connections(self) -> int:
        return len(self._server._invoke.server_state.connections)

    @property
    def requests_under_way(self) -> int:
        return len(self._server._invoke.server_state.tasks)

    async def limits(self) -> dict[str, Any]:
        """Returns the default account's part of /limits."""
        answer = await clients.call(self.admin, "/limits", None, method="GET", host="localhost")
        described: dict[str, Any] = answer.json()["accounts"][0]
        return described

    async def metric(self, name: str, **labels: str) -> float:
        """Returns one sample of /metrics; 0 without one."""
        answer = await clients.call(self.admin, "/metrics", None, method="GET", host="localhost")
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        start = f"invoke_gateway_{name}{{{wanted}}} " if wanted else f"invoke_gateway_{name} "
        lines = answer.body.decode().splitlines()
        return next((float(line.removeprefix(start)) for line in lines if line.startswith(start)), 0.0)

    def what_is_held(self) -> dict[str, object]:
        """Returns everything that must be released when nothing runs; empty when it is."""
        held = {
            "slots": self.app.counters.counts(),
            "buffered bytes": self.app.buffers.in_use,
            "busy backend connections": self.app.pool.busy,
            "requests": self.requests_under_way,
        }
        return {name: value for name, value in held.items() if value}

    async def settled(self) -> None:
        """Waits until nothing is held. Raises AssertionError that names the rest."""
        await eventually(lambda: not self.what_is_held(), self.what_is_held)


@asynccontextmanager
async def serving(backend_url: str, **changes: Any) -> AsyncIterator[GatewayUnderTest]:
    """Runs a gateway before `backend_url`, for the length of the block."""
    async with serve_in_process(make_settings(backend_url, **changes)) as server:
        yield GatewayUnderTest(server)


async def eventually(
    is_true: Callable[[], object], what: Callable[[], object] | str, timeout: float = PATIENCE
) -> None:
    """Returns once `is_true()` holds. Raises AssertionError naming `what` after `timeout` seconds, at least `PATIENCE`:
    no machine is too slow for that."""
    timeout = max(timeout, PATIENCE)
    deadline = asyncio.get_running_loop().time() + timeout
    pause = 0.001
    while not is_true():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout} seconds: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.1, 0.01)  # what takes long is looked for less often


async def stands_still(measure: Callable[[], int], looks: int = 15) -> int:
    """Waits until `measure()` is the same at so many looks in turn, and returns its value. Between two of them the
    event loop has done what there was to do, however slow the machine is."""
    async with asyncio.timeout(PATIENCE):
        value, same = measure(), 0
        while same < looks:
            await asyncio.sleep(0.01)
            now = measure()
            value, same = now, same + 1 if now == value else 0
    return value
