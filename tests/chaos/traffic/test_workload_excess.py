"""When a fault is over whose gateway came back with more calls than the limit has slots for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from invoke_gateway.chaos.calls import GatewayInstance, PlannedCall
from invoke_gateway.chaos.faults.fault_log import FaultLog
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.quotas import AccountQuota
from invoke_gateway.chaos.traffic import workload
from invoke_gateway.chaos.traffic.clients import CallRoute
from invoke_gateway.chaos.traffic.workload import Workload
from invoke_gateway.chaos.wire import HostPort

ACCOUNT = AccountQuota("000000000000", 2, {"checkout": 1})
POOL = ACCOUNT.lanes[0]
ONE = GatewayInstance("gateway 1")


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_over_when_those_beyond_the_limit_have_ended_and_a_kill_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workload, "PAUSE", 0)
    fault_log = FaultLog([ACCOUNT], 1.0, 60.0)
    history = CallHistory([ACCOUNT], 50.0, 60.0, fault_log=fault_log)
    cluster = SimpleNamespace(nodes=[], gateways=[ONE])
    route = CallRoute(HostPort("127.0.0.1", 1), history)
    load = Workload(
        route, cluster, [ACCOUNT], fault_log, "1", kinds=[], partition_seconds=0, timeline=[], begin=print, log=print
    )
    runs = []
    for id in ("a", "b"):
        call = PlannedCall(id, POOL, "prove-one")
        call.through = ONE
        history.open(call)
        history.send(call)
        runs.append(history.begin(call))
    fault = fault_log.begin_fault("cut off", [ONE], history.clock(), is_cut=True)
    await asyncio.wait_for(load._wait_for_excess(fault), 60)  # it has not come back, as after a kill
    fault.ended = history.clock()
    waiting = asyncio.create_task(load._wait_for_excess(fault))
    await turn()
    assert not waiting.done()
    history.end(runs[0])
    await turn()
    assert waiting.done()
