"""The store in a file: what it keeps, in which order it hands out, and what is there after it was opened again."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from invoke_gateway.queue.base import CannotOpen, LaneBacklog, StoreError
from invoke_gateway.queue.event import Event, FunctionAnswer, Outcome
from invoke_gateway.queue.sqlite.statements import STATEMENTS
from invoke_gateway.queue.sqlite.store import SqliteStore

Make = Callable[[Path], object]

LANE = "default/function/f"
PLENTY = 1_000_000_000


def event(request_id: str = "r", due_at: float = 10.0, lane: str = LANE, body: bytes = b"{}") -> Event:
    return Event(
        request_id=request_id,
        account="default",
        function="f",
        arn="arn:aws:lambda:us-east-1:000000000000:function:f",
        path=b"/2015-03-31/functions/f/invocations",
        query=b"Qualifier=1",
        headers=[(b"x-one", b"1"), (b"x-one", b"\xff")],
        body=body,
        received_at=due_at,
        due_at=due_at,
        lane=lane,
    )


async def opened(path: Path, **options: object) -> SqliteStore:
    store = SqliteStore(path, **options)  # type: ignore[arg-type]  # each test names what it needs
    await store.open(lambda *_: None)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await opened(path)
    yield store
    await store.close()


async def ids(store: SqliteStore, now: float = 100.0, most: int = 100, lane: str = LANE) -> list[str]:
    return [event.request_id for event in (await store.claim_due(lane, now, most, PLENTY)).events]


async def test_an_event_comes_back_as_it_was_put(store: SqliteStore) -> None:
    put = event(body=b"\x00\xff" * 100_000)
    put.outcome = Outcome("Success", 3.0, 200, "", FunctionAnswer(200, b"1"), ("on_success",), 2, "away")
    await store.enqueue(put)
    (found,) = (await store.claim_due(LANE, 10.0, 1, PLENTY)).events
    assert found == put


async def test_events_are_handed_out_by_when_they_are_due_then_as_they_came(store: SqliteStore) -> None:
    for request_id, due_at in (("d", 4.0), ("b", 2.0), ("c", 2.0), ("a", 1.0), ("later", 9.0)):
        await store.enqueue(event(request_id, due_at))
    fetched = await store.claim_due(LANE, 5.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["a", "b", "c"], 4.0)
    fetched = await store.claim_due(LANE, 5.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["d"], 9.0)
    fetched = await store.claim_due(LANE, 9.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["later"], None)


async def test_a_claimed_event_is_handed_out_again_only_when_it_was_postponed_or_given_back(store: SqliteStore) -> None:
    await store.enqueue(event("a", 1.0))
    await store.enqueue(event("b", 2.0))
    first, second = (await store.claim_due(LANE, 5.0, 2, PLENTY)).events
    assert await ids(store) == []
    second.runs, second.due_at = 1, 7.0
    await store.requeue(second)
    await store.release([first])
    assert await store.claim_due(LANE, 5.0, 5, PLENTY) == ([first], 7.0)
    (again,) = (await store.claim_due(LANE, 7.0, 5, PLENTY)).events
    assert (again.request_id, again.runs) == ("b", 1)


async def test_what_was_claimed_waits_again_after_the_file_is_opened_anew(path: Path) -> None:
    store = await opened(path)
    for number in range(3):
        await store.enqueue(event(str(number), float(number)))
    claimed = await store.claim_due(LANE, 1.0, 2, PLENTY)
    await store.ack(claimed.events[0])
    await store.close()
    store = SqliteStore(path)
    assert await store.open(lambda *_: None) == [LaneBacklog(LANE, 2, 0, 1.0, 1.0)]
    assert await ids(store) == ["1", "2"]
    await store.close()


async def test_a_fetch_is_bounded_by_bytes_and_gives_one_event_at_least(store: SqliteStore) -> None:
    for number in range(4):
        await store.enqueue(event(str(number), float(number), body=b"x" * 10_000))
    assert (await store.claim_due(LANE, 9.0, 9, 1)).next_due_at == 1.0
    fetched = await store.claim_due(LANE, 9.0, 9, 15_000)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["1", "2"], 3.0)


async def test_an_event_that_is_never_due_stays(store: SqliteStore) -> None:
    await store.enqueue(event("never", math.inf))
    assert await store.claim_due(LANE, 1e12, 9, PLENTY) == ([], math.inf)
    assert [one.due_at for one in await store.backlog()] == [math.inf]


async def test_what_waits_is_told_by_lane_without_what_is_claimed(store: SqliteStore) -> None:
    old = event("old", 5.0)
    old.runs, old.received_at = 1, 2.0
    for one in (event("claimed", 1.0), old, event("b", 7.0), event("other", 3.0, "another")):
        await store.enqueue(one)
    await store.claim_due(LANE, 1.0, 1, PLENTY)
    assert await store.backlog() == [LaneBacklog("another", 1, 0, 3.0, 3.0), LaneBacklog(LANE, 2, 1, 5.0, 2.0)]


async def test_rewriting_moves_a_claimed_event_and_keeps_its_claim(path: Path) -> None:
    store = await opened(path)
    mine = event("a", 1.0)
    await store.enqueue_claimed(mine)
    assert await ids(store) == []
    mine.lane, mine.outcome = "delivery", Outcome("Success", 3.0, 200, "", None)
    await store.update(mine)
    assert await ids(store) == await ids(store, lane="delivery") == []
    await store.release([mine])
    assert await ids(store, lane="delivery") == ["a"]
    await store.close()
    store = await opened(path)
    assert (await store.claim_due("delivery", 9.0, 1, PLENTY)).events == [mine]
    await store.close()


async def test_events_are_found_by_their_request_id_and_taken_by_their_key(store: SqliteStore) -> None:
    for one in (event("twice", 1.0), event("twice", 2.0, "another"), event("once", 3.0)):
        await store.enqueue(one)
    await store.claim_due(LANE, 1.0, 1, PLENTY)
    claimed, free = await store.find("twice", 9)
    assert (claimed[1], free[1], free[0].lane) == (True, False, "another")
    assert claimed[0].key is not None
    assert free[0].key is not None
    assert await store.claim_one(claimed[0].key) is None
    assert await store.claim_one(free[0].key) == free[0]
    assert await store.claim_one(free[0].key) is None
    assert await store.claim_one(b"1-0") is None
    assert await store.find("nobody", 9) == []
    assert len(await store.find("twice", 1)) == 1


async def test_the_oldest_of_a_lane_are_shown_with_their_claims(store: SqliteStore) -> None:
    for number in range(3):
        await store.enqueue(event(str(number), float(number)))
    await store.claim_due(LANE, 0.0, 1, PLENTY)
    shown = [(one.request_id, is_claimed) for one, is_claimed in await store.oldest(LANE, 2)]
    assert shown == [("0", True), ("1", False)]


async def test_an_event_may_end_or_be_postponed_before_its_put_is_answered(store: SqliteStore) -> None:
    ended, postponed, left = (event(name) for name in ("ended", "postponed", "left"))
    puts = [asyncio.create_task(store.enqueue_claimed(one)) for one in (ended, postponed, left)]
    await asyncio.sleep(0)
    postponed.due_at = 50.0
    await asyncio.gather(store.ack(ended), store.requeue(postponed), *puts)
    assert await store.claim_due(LANE, 50.0, 9, PLENTY) == ([postponed], None)
    assert [one.events for one in await store.backlog()] == []
    await store.release([left])
    assert await ids(store) == ["left"]


async def test_an_event_may_be_given_back_before_what_was_said_of_it_is_written(store: SqliteStore) -> None:
    new, rewritten = event("new"), event("rewritten", 20.0)
    await store.enqueue_claimed(rewritten)
    rewritten.runs = 1
    puts = [asyncio.create_task(store.enqueue_claimed(new)), asyncio.create_task(store.update(rewritten))]
    await asyncio.sleep(0)
    await store.release([new, rewritten])
    await asyncio.gather(*puts)
    assert await store.claim_due(LANE, 50.0, 9, PLENTY) == ([new, rewritten], None)


async def test_the_bound_is_exact_and_counts_what_is_on_its_way(path: Path) -> None:
    store = await opened(path, maximum_events=3)
    results = await asyncio.gather(*(store.enqueue(event(str(n))) for n in range(5)), return_exceptions=True)
    refused = [one for one in results if isinstance(one, StoreError)]
    assert [one.kind for one in refused] == ["bound"] * 2
    assert "async.maximum_events" in str(refused[0])
    first, _ = (await store.claim_due(LANE, 99.0, 2, PLENTY)).events
    await asyncio.gather(store.ack(first), store.ack(first))
    await store.enqueue(event("room"))
    with pytest.raises(StoreError):
        await store.enqueue(event("none"))
    await store.close()
    store = await opened(path, maximum_events=3)
    with pytest.raises(StoreError):
        await store.enqueue(event("none"))
    both = event("both")
    (first, *_) = (await store.claim_due(LANE, 99.0, 1, PLENTY)).events
    await store.ack(first)
    await asyncio.gather(store.enqueue_claimed(both), end_soon(store, both))
    await store.enqueue(event("room"))
    with pytest.raises(StoreError):
        await store.enqueue(event("none"))
    await store.close()


async def end_soon(store: SqliteStore, one: Event) -> None:
    await store.ack(one)


async def test_a_put_nobody_waits_for_any_more_is_kept_and_told(path: Path) -> None:
    heard = []
    store = SqliteStore(path)
    await store.open(lambda *what: heard.append(what))
    for put in (store.enqueue, store.enqueue_claimed):
        task = asyncio.create_task(put(event()))
        await asyncio.sleep(0)
        task.cancel()
    await store.enqueue(event("after"))
    assert heard == [(LANE, 1, 10.0)] * 2
    assert await ids(store) == ["r", "r", "after"]
    await store.close()


async def test_each_event_is_handed_out_once_while_others_come_and_go(store: SqliteStore) -> None:
    """Fetches read behind commits of which the loop has not heard yet, and before those it has heard of."""
    handed: Counter[str] = Counter()
    came = 0

    async def putter(name: int) -> None:
        nonlocal came
        for number in range(150):
            await store.enqueue(event(f"{name}-{number}", float(number % 7)))
            came += 1

    async def worker() -> None:
        while sum(handed.values()) < 8 * 150:
            for one in (await store.claim_due(LANE, 10.0, 5, PLENTY)).events:
                handed[one.request_id] += 1
                if one.requeues == 0 and hash(one.request_id) % 5 == 0:
                    handed[one.request_id] -= 1
                    one.requeues = 1
                    await store.requeue(one)
                elif hash(one.request_id) % 3 == 0:
                    await store.ack(one)

    await asyncio.gather(*(putter(name) for name in range(8)), *(worker() for _ in range(3)))
    assert (came, len(handed), set(handed.values())) == (1_200, 1_200, {1})
    assert await store.claim_due(LANE, 10.0, 5, PLENTY) == ([], None)


async def test_a_fetch_that_ran_beside_a_postponement_says_when_that_is_due(store: SqliteStore) -> None:
    for number in range(300):
        mine = event(str(number), 1.0)
        await store.enqueue_claimed(mine)
        fetched, _ = await asyncio.gather(store.claim_due(LANE, 1.0, 1, PLENTY), store.requeue(mine))
        if fetched.events:
            assert fetched.events == [mine]
        elif fetched.next_due_at is None:  # it was not there yet, and its postpone had not returned
            (mine,) = (await store.claim_due(LANE, 1.0, 1, PLENTY)).events
        else:
            assert fetched.next_due_at == 1.0
            (mine,) = (await store.claim_due(LANE, 1.0, 1, PLENTY)).events
        await store.ack(mine)


async def test_the_file_is_its_owners_alone(path: Path) -> None:
    store = await opened(path)
    await store.enqueue(event())
    modes = {name.name: stat.S_IMODE(name.stat().st_mode) for name in path.parent.iterdir()}
    assert modes == {f"queue.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()


async def test_a_temporary_file_ends_with_its_store(path: Path) -> None:
    store = await opened(path, is_temporary=True)
    await store.enqueue(event())
    await store.close()
    assert not path.parent.exists()


async def test_a_second_owner_is_refused_and_told_who_has_it(path: Path) -> None:
    store = await opened(path)
    with pytest.raises(CannotOpen, match=rf"process {os.getpid()} owns .*a file of its own"):
        await opened(path)
    await store.close()
    await (await opened(path)).close()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = await opened(path)
    mine = event()
    await store.enqueue_claimed(mine)
    await store.close()
    for call in (store.enqueue(event()), store.claim_due(LANE, 1.0, 1, 1), store.backlog()):
        with pytest.raises(StoreError, match="closed"):
            await call
    await store.ack(mine)
    await store.close()
    store = await opened(path)
    assert await ids(store) == ["r"]
    await store.close()


async def test_closing_writes_what_was_still_to_be_written(path: Path) -> None:
    store = await opened(path)
    mine = event("mine")
    await store.enqueue_claimed(mine)
    ends = [asyncio.create_task(store.ack(mine)), asyncio.create_task(store.enqueue(event("last")))]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*ends)
    store = await opened(path)
    assert await ids(store) == ["last"]
    await store.close()


async def test_an_event_that_cannot_be_read_is_kept_told_once_and_does_not_stop_the_others(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(path)
    for number in range(3):
        await store.enqueue(event(str(number)))
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET head = x'c1' WHERE seq = 2")
    connection.close()
    store = await opened(path)
    for _ in range(2):
        fetched = await store.claim_due(LANE, 10.0, 9, PLENTY)
        await store.release(fetched.events)
        assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["0", "2"], None)
    assert caplog.text.count("event 2 of the queue's file") == 1
    assert [one.events for one in await store.backlog()] == [2]
    assert len(await store.oldest(LANE, 9)) == 2
    await store.close()
    store = await opened(path)
    assert await store.claim_one(2) is None
    assert [one.events for one in await store.backlog()] == [2]
    await store.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("lane,events\n" * 1_000), "is no database of SQLite"),
        (lambda path: run_sql(path, "CREATE TABLE t (x)"), "no queue of this gateway"),
        (lambda path: run_sql(path, "PRAGMA application_id = 1229410609; PRAGMA user_version = 2"), "format 2"),
        (lambda path: path.mkdir(), "cannot be"),
        (lambda path: path.with_name("queue.db-wal").write_bytes(b"events"), "events that are in no other file"),
    ],
)
async def test_what_is_no_queue_is_refused_in_words_and_left_as_it_is(path: Path, make: Make, text: str) -> None:
    path.parent.mkdir()
    make(path)
    before = {name: name.stat().st_size for name in path.parent.iterdir()}
    for _ in range(2):
        with pytest.raises(CannotOpen, match=text):
            await opened(path)
    after = {name: name.stat().st_size for name in path.parent.iterdir() if name.suffix != ".lock"}
    assert after == before


def run_sql(path: Path, text: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(text)
    connection.close()


def size_of(path: Path) -> int:
    return path.stat().st_size


async def test_a_drained_file_is_small_again_and_the_log_stays_short(path: Path) -> None:
    store = await opened(path)
    for _ in range(40):
        await asyncio.gather(*(store.enqueue(event(body=b"x" * 60_000)) for _ in range(50)))
        assert size_of(path.with_name("queue.db-wal")) < 48_000_000
    assert size_of(path) > 64_000_000
    await store.enqueue(event("left"))
    while len(events := (await store.claim_due(LANE, 10.0, 100, PLENTY)).events) == 100:
        await asyncio.gather(*(store.ack(one) for one in events))
    await store.close()
    assert size_of(path) < 10_000_000
    store = await opened(path)
    assert await ids(store) == ["left"]
    await store.close()


async def test_who_is_next_and_what_waits_are_answered_by_the_index(path: Path) -> None:
    store = await opened(path)
    connection = sqlite3.connect(path)
    plans = {
        name: " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {STATEMENTS[name]}", values))
        for name, values in (("lane", ("l", 1.0, 1)), ("waiting", ("[]",)), ("find", ("r", 1)))
    }
    connection.close()
    await store.close()
    assert "USING COVERING INDEX events_by_lane (lane=? AND due_at>?)" in plans["lane"]
    assert "USING COVERING INDEX events_by_lane" in plans["waiting"]
    assert "USING COVERING INDEX events_by_lane" in plans["find"]
    assert "TEMP B-TREE" not in plans["lane"] + plans["waiting"]


def memory() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_million_events_take_no_more_memory_than_a_thousand_and_the_next_is_found_at_once(path: Path) -> None:
    store = await opened(path)
    at_first = 0
    for thousand in range(1_000):
        await asyncio.gather(
            *(store.enqueue(event(str(thousand), float(thousand), body=b"x" * 100)) for _ in range(1_000))
        )
        at_first = at_first or memory()
    began = time.monotonic()
    for _ in range(100):
        assert len((await store.claim_due(LANE, 2_000.0, 10, PLENTY)).events) == 10
    assert time.monotonic() - began < 5
    assert memory() - at_first < 64_000_000
    await store.close()
    store = SqliteStore(path)
    assert await store.open(lambda *_: None) == [LaneBacklog(LANE, 1_000_000, 0, 0.0, 0.0)]
    await store.close()
