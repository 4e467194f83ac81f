"""Measures admissions through shared counters alone, in a process of its own: CPU time and rate.

`python -m loadtests.bench.admissions URL IN_FLIGHT SECONDS`; prints JSON.
"""

import asyncio
import json
import sys
import time

import uvloop

from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.concurrency import LimitReached, Plan
from invoke_gateway.policy.limits import DEFAULT_ACCOUNT, AccountLimits, Limits

ROOM = 1_000_000


async def _admit(counters: SharedCounters, plan: Plan, until: float, waits: list[float]) -> None:
    """Takes and releases a slot, one call after the other."""
    while (began := time.perf_counter()) < until:
        slot = await counters.acquire(plan)
        if isinstance(slot, LimitReached):
            raise SystemExit(f"refused: {slot.describe()}")
        waits.append(time.perf_counter() - began)
        slot.release()


async def _run(url: str, in_flight: int, seconds: float) -> dict[str, float]:
    limits = Limits(AccountLimits(DEFAULT_ACCOUNT, ROOM, {}), {}, {})
    counters = SharedCounters(SharedConfig(url, lease_seconds=1.0), limits=lambda: limits, degraded={})
    await counters.start()
    plan = limits.default.plan("checkout")
    while isinstance(await counters.acquire(plan), LimitReached):  # noqa: ASYNC110  # the store is being filled, and tells nobody
        await asyncio.sleep(0.1)
    waits: list[float] = []
    before, began = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(_admit(counters, plan, began + seconds, waits))
    spent, took = time.process_time() - before, time.perf_counter() - began
    await counters.close()
    waits.sort()
    return {
        "in_flight": in_flight,
        "microseconds": 1e6 * spent / len(waits),
        "per_second": len(waits) / took,
        "p50_ms": 1e3 * waits[len(waits) // 2],
        "p99_ms": 1e3 * waits[len(waits) * 99 // 100],
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
