"""A seed is a script: the same one plans the same calls, another one others."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from invoke_gateway.chaos.calls import CallEnding, PlannedCall
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.quotas import AccountQuota
from invoke_gateway.chaos.traffic import phases
from invoke_gateway.chaos.traffic.clients import CallRoute, ClientBehaviour
from invoke_gateway.chaos.traffic.phases import Phases
from invoke_gateway.chaos.wire import HostPort

ACCOUNTS = [AccountQuota("000000000000", 10, {"checkout": 3, "closed": 0}), AccountQuota("111122223333", 4)]
PATIENT = 10 + 4  # clients at the limit: one for each slot

Planned = tuple[str, str, str, float, bool, bool, int, str, float]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Planned]:
    """What is planned: clients that note their call, draw one random number, and leave."""
    seen: list[Planned] = []

    async def invoke(route: CallRoute, call: PlannedCall, behaviour: ClientBehaviour, rng: Random) -> None:
        sizes = (call.seconds, call.is_large, call.is_streamed, call.padding)
        seen.append((call.id, call.function, call.ending, *sizes, behaviour, rng.random()))

    async def invoke_pipelined(route: CallRoute, calls: Sequence[PlannedCall]) -> None:
        for call in calls:
            await invoke(route, call, ClientBehaviour.STAYS, Random(0))

    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr(phases, "invoke", invoke)
    monkeypatch.setattr(phases, "invoke_pipelined", invoke_pipelined)
    monkeypatch.setattr(phases.asyncio, "sleep", at_once)
    return seen


def script(seed: int, round: int = 1, *, hangs: bool = True) -> Phases:
    route = CallRoute(HostPort("127.0.0.1", 1), CallHistory(ACCOUNTS, 1, 2))
    return Phases(route, ACCOUNTS, seed, round, clients=500, hangs=hangs)


async def run(of: Phases) -> None:
    await of.at_the_limit()
    await of.burst()
    await of.hostile()


async def test_the_same_seed_gives_the_same_script_and_another_seed_or_round_another(planned: list[Planned]) -> None:
    scripts = []
    for seed, round in ((1, 1), (1, 1), (2, 1), (1, 2)):
        planned.clear()
        await run(script(seed, round))
        scripts.append({plan[1:] for plan in planned})
    first, again, other_seed, other_round = scripts
    assert first == again
    assert not first & other_seed
    assert not first & other_round


async def test_every_call_has_an_id_of_its_own_and_every_manner_and_ending_comes(planned: list[Planned]) -> None:
    for seed in range(3):
        await run(script(seed))
    assert len({plan[0] for plan in planned}) == len(planned)
    assert {plan[7] for plan in planned} == set(ClientBehaviour)
    assert {plan[2] for plan in planned} == set(CallEnding) - {CallEnding.WAITS}


async def test_at_the_limit_there_are_never_more_clients_than_slots_and_none_leaves(planned: list[Planned]) -> None:
    await script(1).at_the_limit()
    assert len({id.rpartition(".")[0] for id, *_ in planned}) == PATIENT
    assert {plan[7] for plan in planned} == {ClientBehaviour.STAYS}
    assert not [plan for plan in planned if plan[1] == "closed"]


async def test_a_burst_has_five_hundred_clients_on_the_largest_account(planned: list[Planned]) -> None:
    await script(1).burst()
    assert len({id for id, *_ in planned if "000000000000" in id}) == 500


async def test_no_backend_hangs_where_the_gateways_time_out_is_not_known(planned: list[Planned]) -> None:
    for seed in range(3):
        await run(script(seed, hangs=False))
    assert not {plan[2] for plan in planned} & {CallEnding.HANGS, CallEnding.LATE_ANSWER, CallEnding.LATE_GARBAGE}
