"""Five hundred clients at once before twenty slots, with faults on both sides: the limits hold, every slot is free
again, and, which only the process itself can tell, nothing else is held either."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from invoke_gateway.chaos.plan import CLIENTS, ProvePlan
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.wire import HostPort
from tests.support.gateways import UNRATED, eventually, serving
from tests.support.processes import free_port

FAST = range(1)
SOAK = range(100, 105)
LIMIT = 20
TIMEOUT_SECONDS = 2.0
LIMITS = {
    "concurrent_executions": LIMIT,
    "functions": {"checkout": {"reserved_concurrent_executions": 5, **UNRATED}},
    **UNRATED,
}


async def check(seed: int) -> None:
    backend = HostPort("127.0.0.1", free_port())
    to_backend = {"timeout_seconds": TIMEOUT_SECONDS}
    async with serving(f"http://{backend}", backend=to_backend, accounts={"default": LIMITS}) as gateway:
        listen, admin = (HostPort(str(at.host), at.port) for at in (gateway.listen, gateway.admin))
        plan = ProvePlan([seed], 0, CLIENTS, listen, admin, backend, TIMEOUT_SECONDS)
        verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
        assert verdict.examples == []
        assert [(peak.name, peak.highest) for peak in verdict.peaks] == [
            ("account", LIMIT),
            ("unreserved", LIMIT - 5),
            ("checkout", 5),
        ]
        answers = verdict.results[0].answers
        assert min(answers[kind] for kind in ("200", "429", "500", "left")) > 10, f"too tame: {answers}"
        await gateway.settled()
        await eventually(lambda: not gateway.client_connections, "all clients have gone")


@pytest.mark.parametrize("seed", FAST)
async def test_a_burst_with_faults_on_both_sides_stays_within_its_slots_and_leaves_nothing_held(seed: int) -> None:
    await check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK)
async def test_more_bursts_do_too(seed: int) -> None:
    await check(seed)
