"""Gateways that die, stand still or miss notifications."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.queue.redis.sharing import (
    LEASE,
    TIMEOUT,
    ack,
    fetch,
    ids,
    put_claimed,
    sharing,
    shown,
)
from tests.support.event_places import LANE, NOW, Heard, StreamPlace, hear_nothing, make_event
from tests.support.gateways import eventually
from tests.support.lateness import judge


@pytest.mark.lateness
async def test_what_a_dead_gateway_had_claimed_is_run_by_another_soon_after_its_lease(place: StreamPlace) -> None:
    heard = Heard()
    async with sharing(place, heard) as two:
        one = place.make(lease_seconds=LEASE, timeout_seconds=TIMEOUT)
        await one.open(hear_nothing)
        for number in range(1200):  # more than one script takes over
            await one.enqueue(make_event(str(number)))
        events = await fetch(one, most=1100)
        events[0].runs = 2
        await one.update(events[0])
        await eventually(lambda: heard.events() == 1200, "what was put is heard")
        died = time.monotonic()
        presence = one._membership
        for task in (*presence._tasks, one._work._task, one._enqueuer._task):
            assert task is not None
            await task.close()
        await eventually(lambda: two.totals.taken_over == 1100, "it is taken over", 3 * LEASE)
        judge(died, LEASE * 1.34 + 1)
        assert heard.events() == 1200 + 1100
        assert len(await fetch(two, most=2000)) == 1200
        with place.server.client() as client:
            assert client.zcard(f"{place.base}:leases") == 1
        for line in one._channels:
            await line.close()


async def test_a_gateway_that_stood_still_undoes_nothing_of_what_others_did(place: StreamPlace) -> None:
    async with sharing(place, lease_seconds=1) as two:
        names = [f"{kind}-{n}" for kind in ("finish", "postpone", "rewrite", "back") for n in range(3)]
        for name in names:
            await two.enqueue(make_event(name))
        arguments = [place.server.url, place.base.strip("{}"), "1", LANE, repr(NOW)]
        process = subprocess.Popen(  # noqa: ASYNC220 (it starts at once)
            [sys.executable, str(Path(__file__).with_name("paused_gateway.py")), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert await asyncio.to_thread(process.stdout.readline) == f"claimed {len(names)}\n"
            process.send_signal(signal.SIGSTOP)
            await eventually(lambda: two.totals.taken_over == len(names), "it is taken over", 10)
            events = {event.request_id: event for event in await fetch(two)}
            assert len(events) == len(names)
            for name in names:  # one of each kind is finished, one postponed, one still runs
                if name.endswith("0"):
                    await two.ack(events[name])
                elif name.endswith("1"):
                    events[name].runs, events[name].due_at = 7, NOW + 100
                    await two.requeue(events[name])
            process.send_signal(signal.SIGCONT)
            process.stdin.write("go\n")
            process.stdin.flush()
            said = await asyncio.to_thread(process.stdout.readline)
            assert said == f"refused {len(names)} lost 1 again 0\n"
            assert await asyncio.to_thread(process.wait, 10) == 0
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        assert sorted(await shown(two)) == sorted(
            [(name, 7, False) for name in names if name.endswith("1")]
            + [(name, 0, True) for name in names if name.endswith("2")]
        )
        for name in names:
            if name.endswith("2"):
                await two.ack(events[name])
        assert two.totals.refused == 0
        assert two.totals.lost_leases == 0


async def test_a_lost_lease_costs_a_put_and_a_fetch_nothing(place: StreamPlace) -> None:
    async with sharing(place, lease_seconds=30) as one, sharing(place, lease_seconds=30) as two:
        first = await put_claimed(one, "1")
        with place.server.client() as client:
            client.zadd(f"{place.base}:leases", {one._membership.session: 1})
        await two._membership.renew()
        assert two.totals.taken_over == 1
        second = await put_claimed(one, "2")
        assert one.totals.lost_leases == 1
        assert ids(await fetch(one)) == ["1"]
        await ack(one, first)
        assert one.totals.refused == 1  # it is claimed by this very gateway, but not by that claim
        await ack(one, second)
        assert one.totals.refused == 1
        assert await shown(one) == [("1", 0, True)]


async def test_missed_news_are_made_up_for(place: StreamPlace) -> None:
    heard = Heard()
    async with sharing(place) as one, sharing(place, heard):
        with place.server.client() as client:
            client.hincrby(f"{place.base}:state", "news", 1)  # one was trimmed before it was read
        await one.enqueue(make_event())
        await eventually(lambda: len(heard.calls) == 2, "the news and what waits")
        assert heard.calls == [(LANE, 1, NOW), (LANE, 0, NOW)]


async def test_an_event_of_another_version_hinders_nobody(place: StreamPlace, caplog: pytest.LogCaptureFixture) -> None:
    async with sharing(place) as one:
        for number in range(3):
            await one.enqueue(make_event(str(number)))
        key = (await one.oldest(LANE, 3))[1][0].key
        with place.server.client() as client:
            client.hset(f"{place.base}:heads", key, b"\xc1 of tomorrow")
        assert ids(await fetch(one)) == ["0", "2"]
        assert any("another version" in record.message for record in caplog.records)
        assert await fetch(one) == []


async def test_a_backlog_takes_no_memory_of_the_gateway(place: StreamPlace) -> None:
    async with sharing(place, timeout_seconds=10) as store, sharing(place, timeout_seconds=10) as other:

        async def put(numbers: range) -> None:
            for number in numbers:
                await store.enqueue(make_event(str(number), body=b"x" * 1000))

        async def put_many(events: int) -> None:
            await asyncio.gather(*(put(range(start, events, 64)) for start in range(64)))

        await put_many(1000)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await put_many(10_000)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 1_000_000  # 100 bytes an event
        assert (await other.backlog())[0].events == 11_000
        found = await other.find("77", 10)
        assert ids([event for event, _ in found]) == ["77", "77"]
        with place.server.client() as client:
            client.flushall()
