"""Measures the live page's cost on the event loop: `python -m tests.page.cost` (docs/guides/live-page.md)."""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Callable
from time import thread_time
from timeit import repeat

import msgspec

from invoke_gateway.admin.live.document import find_configured
from invoke_gateway.admin.live.query import LiveQuery
from invoke_gateway.app.gateway import Gateway
from invoke_gateway.exchange import Exchange
from invoke_gateway.policy.limits import DEFAULT_ACCOUNT
from invoke_gateway.telemetry.last_refusals import SAME_SECONDS
from tests.support.gateways import make_settings
from tests.support.stores import running_store

FUNCTIONS = 10_000
ACTIVE = 500
NOWHERE = "http://127.0.0.1:1"


def measure(what: str, do: Callable[[], object], times: int = 100) -> None:
    """Print the median and the longest CPU time of so many runs."""
    seconds = []
    for _ in range(times):
        began = thread_time()
        do()
        seconds.append(thread_time() - began)
    print(f"{what:58} {statistics.median(seconds) * 1e3:8.3f} ms, at most {max(seconds) * 1e3:8.3f} ms")


async def make_gateway(labelled: int, throttled: int) -> Gateway:
    functions: dict[str, object] = {f"function-{number:05}": {} for number in range(FUNCTIONS)}
    accounts = {"default": {"concurrent_executions": 5000, "functions": functions}}
    settings = make_settings(NOWHERE, accounts=accounts, metric_functions=labelled)
    gateway = Gateway(settings, backend_url=NOWHERE)
    account = gateway.tables.limits.default
    for number in range(ACTIVE):
        for _ in range(1 + number % 5):
            await gateway.counters.acquire(account.plan(f"function-{number:05}"))
    for number in range(labelled):
        counts = gateway.totals.of(account.account, f"function-{number:05}")
        if number < throttled:
            counts.throttles["ConcurrentInvocationLimitExceeded"] = 1 + number
        if number < ACTIVE:
            for attempt in range(200):
                counts.invocations += 1
                counts.duration.observe(0.001 * (1 + attempt + number))
    for _ in range(300):
        gateway.admin.samples.sparklines.sample()
    return gateway


async def measure_answers(labelled: int, throttled: int) -> None:
    gateway = await make_gateway(labelled, throttled)
    view = gateway.admin.live_stream._view
    print(f"{FUNCTIONS} functions, {ACTIVE} active, {labelled} with metrics, {throttled} throttled")
    samples = gateway.admin.samples
    measure("  a sample for the sparklines", samples.sparklines.sample)
    measure("  a sample for refusals, none refused since", samples.episodes.sample)

    def throttle_and_sample() -> None:
        for counts in gateway.totals.functions.values():
            if counts.throttles:
                counts.throttles["ConcurrentInvocationLimitExceeded"] += 1
        samples.episodes.sample()

    measure("  the same, all of the throttled refused again", throttle_and_sample)

    def call_and_sample() -> None:
        for number in range(min(labelled, ACTIVE)):
            gateway.totals.of(DEFAULT_ACCOUNT, f"function-{number:05}").invocations += 1
        assert samples.last_minute is not None
        samples.last_minute.sample()

    measure("  a sample for the last minute", call_and_sample)
    measure("  what all queries share", view.take_snapshot)
    for query in (LiveQuery(), LiveQuery(search="9"), LiveQuery(top=200)):
        configured = await find_configured(gateway.tables.limits, query)
        snapshot = view.take_snapshot()

        def answer(query=query, snapshot=snapshot, configured=configured) -> bytes:
            return msgspec.json.encode(view.describe(query, snapshot, configured))

        measure(f"  answer: top {query.top}, search {query.search!r}, {len(answer())} bytes", answer)


async def measure_sums() -> None:
    """What a store says once a second of the functions that run anywhere."""
    with running_store("valkey") as store:
        store.clear("000000000000")
        gateway = Gateway(make_settings(NOWHERE, counters=store.url), backend_url=NOWHERE)
        assert gateway.shared is not None
        await gateway.start()
        account = gateway.tables.limits.default
        with store.client() as client:
            sums = {account.function_counter(f"function-{number:05}"): 1 + number % 5 for number in range(ACTIVE)}
            client.hset("invoke-gateway:{000000000000}:sums", mapping=sums)
        seconds = []
        for _ in range(100):
            began = thread_time()
            await gateway.shared.read_sums()
            seconds.append(thread_time() - began)
        assert len(gateway.shared.sums) == ACTIVE
        median, longest = statistics.median(seconds) * 1e3, max(seconds) * 1e3
        print(f"{f'the sums of {ACTIVE} functions read':58} {median:8.3f} ms, at most {longest:8.3f} ms")
        await gateway.close()


async def measure_refusals() -> None:
    gateway = await make_gateway(0, 0)
    account = gateway.tables.limits.default
    plan = account.plan("function-00001")
    while not (full := gateway.counters.check(plan)):
        await gateway.counters.acquire(plan)
    exchange = Exchange(1.0)
    exchange.plan, exchange.full, exchange.refusal = plan, full, full.claim.refusal

    def keep() -> None:
        exchange.received_at += SAME_SECONDS
        gateway.last_refusals.record(exchange)

    measure("a refusal that is kept, 5000 slots taken", keep)
    note = gateway.last_refusals.record
    times = 1_000_000
    nothing = min(repeat(lambda: None, number=times, repeat=5, timer=thread_time))
    nanoseconds = (
        (min(repeat(lambda: note(exchange), number=times, repeat=5, timer=thread_time)) - nothing) / times * 1e9
    )
    print(f"a refusal that is not kept {nanoseconds:36.0f} ns")


async def main() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as the server does
    await measure_answers(1000, 500)
    await measure_answers(10_000, 5000)
    await measure_sums()
    await measure_refusals()


if __name__ == "__main__":
    asyncio.run(main())
