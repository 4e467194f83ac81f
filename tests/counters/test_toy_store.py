"""Asserts that a store written from `counters/base.py` alone serves a real call, and its limits are the gateway's."""

from __future__ import annotations

import asyncio
import sys

import pytest

from ..support.backends import Gate, ScriptedBackend
from ..support.clients import call, invoke
from ..support.gateways import eventually, serving
from .toy_store import ToyCounters


async def test_a_third_store_serves_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("invoke_gateway.app.") and hasattr(module, "MemoryCounters"):
            monkeypatch.setattr(module, "MemoryCounters", ToyCounters)
    gate = Gate()
    async with (
        ScriptedBackend(gate) as backend,
        serving(backend.url, accounts={"default": {"concurrent_executions": 1}}) as gateway,
    ):
        counters = gateway.app.counters
        assert isinstance(counters, ToyCounters)
        running = asyncio.create_task(invoke(gateway.listen))
        await eventually(lambda: sum(backend.running.values()) > 0, "the backend has it")
        refused = await invoke(gateway.listen)
        assert (refused.status, refused.json()["Reason"]) == (429, "ConcurrentInvocationLimitExceeded")
        gate.open()
        assert (await running).status == 200
        await eventually(lambda: counters.counts() == {}, "the slot is released")
        limits = (await call(gateway.admin, "/limits", None, method="GET", host="localhost")).json()
        assert limits["accounts"][0]["concurrent_executions"] == 1
