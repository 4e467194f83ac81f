"""The machine's clock is set while events wait, and between two starts."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from invoke_gateway.policy.events.event_rules import Delays
from invoke_gateway.queue.clock import Clock
from invoke_gateway.queue.event import Outcome
from invoke_gateway.queue.sqlite import clock_record
from invoke_gateway.queue.sqlite import store as sqlite
from invoke_gateway.queue.sqlite.store import SqliteStore
from invoke_gateway.settings import Address
from tests.queue.test_dispatcher import ERROR, World
from tests.support.backends import ScriptedBackend, says
from tests.support.clients import invoke
from tests.support.dispatching import MemoryStore, settle
from tests.support.event_places import Heard, StreamPlace, make_event
from tests.support.gateways import eventually
from tests.support.processes import bare_environment, fetch_json, free_port, listens, running, wait_until
from tests.support.stores import running_store

HOUR = 3_600.0


class Machine:
    """A machine's clocks; `step` sets the one that people see."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.epoch = 1_700_000_000.0

    def wall(self) -> float:
        return self.epoch + self.seconds

    def steady(self) -> float:
        return self.seconds

    def clock(self) -> Clock:
        return Clock(wall=self.wall, steady=self.steady)

    def step(self, seconds: float) -> None:
        self.epoch += seconds


@pytest.mark.parametrize("step", [-HOUR, 86_400.0, -1e9])
def test_a_step_of_the_machines_clock_changes_nothing(step: float) -> None:
    machine = Machine()
    clock = machine.clock()
    began = clock()
    machine.step(step)
    machine.seconds += 5
    assert clock() - began == 5
    assert clock.wall() == machine.wall()
    assert clock.offset == pytest.approx(-step)


@pytest.mark.parametrize("step", [-HOUR, 86_400.0])
async def test_the_next_start_goes_on_with_the_clock_of_the_last_one(
    tmp_path: Path, step: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", 0.01)
    path, machine = tmp_path / "queue.db", Machine()
    clock = machine.clock()
    store = SqliteStore(path, clock=clock)
    await store.open(lambda *_: None)
    await store.enqueue(make_event(due_at=clock() + 3, received_at=clock()))
    machine.step(step)
    await eventually(lambda: "the machine's clock was set" in caplog.text, "it is not noticed", 20)
    assert f"was set {'back' if step < 0 else 'forward'} by {abs(step):.0f} s" in caplog.text
    await eventually(lambda: offset_in(path), "it is not kept", 20)
    await store.close()
    machine.seconds += 1
    clock = machine.clock()
    store = SqliteStore(path, clock=clock)
    (row,) = await store.open(lambda *_: None)
    assert row.due_at - clock() == pytest.approx(2, abs=1e-3)
    assert clock() - row.received_at == pytest.approx(1, abs=1e-3)
    (event,) = (await store.claim_due(row.lane, clock() + 9, 9, 1 << 30)).events
    await store.ack(event)
    await store.close()
    clock = machine.clock()
    store = SqliteStore(path, clock=clock)
    await store.open(lambda *_: None)
    assert clock.offset == pytest.approx(0), "without events the machine's clock is as good"
    await store.close()
    assert caplog.text.count("the machine's clock was set") == 1


async def test_the_line_in_the_log_comes_after_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that is killed after the line goes on with the right clock."""
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", 0.01)
    path, machine = tmp_path / "queue.db", Machine()
    recorded: list[float] = []
    monkeypatch.setattr(clock_record.log, "warning", lambda *_: recorded.append(offset_in(path)))
    store = SqliteStore(path, clock=machine.clock())
    await store.open(lambda *_: None)
    machine.step(86_400.0)
    await eventually(lambda: recorded, "it is not noticed")
    assert recorded == [pytest.approx(-86_400.0)]
    await store.close()


def offset_in(path: Path) -> float:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT offset FROM clock").fetchone()
    connection.close()
    return float(found[0]) if found else 0.0


async def test_a_file_without_the_table_is_opened_and_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    for statement in ("DROP TABLE clock", "SELECT * FROM clock"):
        store = SqliteStore(path)
        await store.open(lambda *_: None)
        await store.enqueue(make_event())
        await store.close()
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()


def test_no_wait_is_longer_than_the_longest_delay() -> None:
    assert (Delays().longest_wait, Delays((600.0,)).longest_wait) == (300.0, 600.0)


@pytest.mark.parametrize("runs", [0, 1])
async def test_after_a_start_with_an_earlier_clock_no_event_waits_longer_than_the_settings_allow(runs: int) -> None:
    """What was stored is due in an hour, and was accepted in an hour."""
    store = MemoryStore()
    async with World(store=store) as world:
        later = world.clock.now + HOUR
        for number in range(300):
            event = world.make("f")
            event.runs, event.due_at, event.received_at, event.lane = runs, later + number, later - 10, "a/function/f"
            await store.enqueue(event)
        ended = world.make("f")
        ended.outcome = Outcome("Success", later, 200, "", None, ())
        ended.lane, ended.due_at = "a/delivery/f", later
        await store.enqueue(ended)
        kept = world.make("f")
        kept.lane, kept.due_at = "a/undelivered/f", later * 2
        await store.enqueue(kept)
        for lane in await store.backlog():
            world.dispatcher.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)
        for _ in range(30):
            await settle()
        assert len(world.runs) == 300
        assert list(store.events) == [kept.key], "what is delivered too has a longest wait, what is kept stays"


async def test_a_clock_that_is_set_back_under_a_dispatcher_delays_nothing_for_longer() -> None:
    async with World() as world:
        world.answers["f"] = [ERROR]
        await world.send("f")
        assert len(world.runs) == 1
        world.clock.now -= HOUR
        for timer in world.clock._timers:
            timer.at -= HOUR
        await world.clock.advance(60 + 60 + 1)
        assert len(world.runs) == 2


async def test_what_a_dead_gateway_had_claimed_comes_back_though_the_clock_of_the_redis_was_set_back() -> None:
    with running_store("redis") as server:
        place = StreamPlace(server, "clock")
        heard = Heard()
        one, two = place.make(lease_seconds=1), place.make(lease_seconds=1)
        await one.open(lambda *_: None)
        await one.enqueue_claimed(make_event())
        await two.open(heard)
        await place.crash(one)
        with server.client() as client:
            seconds, _ = client.time()
            client.zadd(f"{place.base}:leases", {one._membership.session: (seconds + HOUR) * 1000}, xx=True)
        await eventually(lambda: heard.events() == 1, "nobody has taken it over", 30)
        await two.close()


SITE = """
import os, time
_time = time.time
time.time = lambda: _time() + float(open(os.environ["STEP_FILE"]).read())
"""
FAILS = says(b"HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("step", [-HOUR, 86_400.0])
async def test_a_retry_comes_when_it_is_due_though_the_clock_is_set(
    tmp_path: Path, step: float, is_restarted: bool
) -> None:
    """In a process of its own, whose clock is set; with a restart it is killed after it has noticed."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    stepped = tmp_path / "step"
    stepped.write_text("0")
    async with ScriptedBackend(FAILS) as backend:
        port, admin = free_port(), free_port()
        environment = bare_environment(tmp_path) | {
            "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
            "STEP_FILE": str(stepped),
        }
        command = [sys.executable, "-m", "invoke_gateway", "serve", "--backend", backend.url]
        command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        command += ["--async-function-error-delays-seconds", "3"]
        log = tmp_path / "log"
        with running(command, log, environment, tmp_path) as first:
            await asyncio.to_thread(wait_until, lambda: listens(port), "the gateway listens")
            await invoke(Address("127.0.0.1", port), "report", b"{}", {"x-amz-invocation-type": "Event"})
            await eventually(lambda: len(backend.requests) == 1, "no first run", 20)
            url = f"http://127.0.0.1:{admin}/queue"
            await asyncio.to_thread(wait_until, lambda: fetch_json(url)["retrying"], "the retry is not stored")
            stepped.write_text(str(step))
            if is_restarted:
                await eventually(lambda: "the machine's clock was set" in log.read_text(), log.read_text, 20)
                first.kill()
            else:
                await eventually(lambda: len(backend.requests) == 2, log.read_text, 40)
        if is_restarted:
            with running(command, log, environment, tmp_path):
                await eventually(lambda: len(backend.requests) >= 2, log.read_text, 40)
