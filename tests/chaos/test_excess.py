"""When a blow is over whose gateway came back with more calls than the limit has slots for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from invoke_gateway.chaos import workload as siege
from invoke_gateway.chaos.calls import Call, Gateway
from invoke_gateway.chaos.clients import Target
from invoke_gateway.chaos.fault_log import Damage
from invoke_gateway.chaos.history import Ledger
from invoke_gateway.chaos.quotas import Account
from invoke_gateway.chaos.wire import Endpoint
from invoke_gateway.chaos.workload import Siege

ACCOUNT = Account("000000000000", 2, {"checkout": 1})
POOL = ACCOUNT.lanes[0]
ONE = Gateway("gateway 1")


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_over_when_those_beyond_the_limit_have_ended_and_a_kill_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(siege, "PAUSE", 0)
    damage = Damage([ACCOUNT], 1.0, 60.0)
    ledger = Ledger([ACCOUNT], 50.0, 60.0, damage=damage)
    fleet = SimpleNamespace(members=[], gateways=[ONE])
    target = Target(Endpoint("127.0.0.1", 1), ledger)
    besieging = Siege(
        target, fleet, [ACCOUNT], damage, "1", kinds=[], cut_seconds=0, around=[], begin=print, tell=print
    )
    runs = []
    for id in ("a", "b"):
        call = Call(id, POOL, "prove-one")
        call.through = ONE
        ledger.open(call)
        ledger.send(call)
        runs.append(ledger.begin(call))
    blow = damage.strike("cut off", [ONE], ledger.clock(), is_cut=True)
    await asyncio.wait_for(besieging._wait_for_excess(blow), 60)  # it has not come back, as after a kill
    blow.ended = ledger.clock()
    waiting = asyncio.create_task(besieging._wait_for_excess(blow))
    await turn()
    assert not waiting.done()
    ledger.end(runs[0])
    await turn()
    assert waiting.done()
