"""The store in a file: what it keeps, in which order it hands out, and what is there after it was opened again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.queue.base import Waiting
from gateway.queue.event import Answer, Event, Outcome
from gateway.queue.sqlite import SqliteStore

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
    return [event.request_id for event in (await store.fetch(lane, now, most, PLENTY)).events]


async def test_an_event_comes_back_as_it_was_put(store: SqliteStore) -> None:
    put = event(body=b"\x00\xff" * 100_000)
    put.outcome = Outcome("Success", 3.0, 200, "", Answer(200, b"1"), ("on_success",), 2, "away")
    await store.put(put)
    (found,) = (await store.fetch(LANE, 10.0, 1, PLENTY)).events
    assert found == put


async def test_events_are_handed_out_by_when_they_are_due_then_as_they_came(store: SqliteStore) -> None:
    for request_id, due_at in (("d", 4.0), ("b", 2.0), ("c", 2.0), ("a", 1.0), ("later", 9.0)):
        await store.put(event(request_id, due_at))
    fetched = await store.fetch(LANE, 5.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["a", "b", "c"], 4.0)
    fetched = await store.fetch(LANE, 5.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["d"], 9.0)
    fetched = await store.fetch(LANE, 9.0, 3, PLENTY)
    assert ([one.request_id for one in fetched.events], fetched.next_due_at) == (["later"], None)


async def test_a_claimed_event_is_handed_out_again_only_when_it_was_postponed_or_given_back(store: SqliteStore) -> None:
    await store.put(event("a", 1.0))
    await store.put(event("b", 2.0))
    first, second = (await store.fetch(LANE, 5.0, 2, PLENTY)).events
    assert await ids(store) == []
    second.runs, second.due_at = 1, 7.0
    await store.postpone(second)
    await store.give_back([first])
    assert await store.fetch(LANE, 5.0, 5, PLENTY) == ([first], 7.0)
    (again,) = (await store.fetch(LANE, 7.0, 5, PLENTY)).events
    assert (again.request_id, again.runs) == ("b", 1)


async def test_what_was_claimed_waits_again_after_the_file_is_opened_anew(path: Path) -> None:
    store = await opened(path)
    for number in range(3):
        await store.put(event(str(number), float(number)))
    claimed = await store.fetch(LANE, 1.0, 2, PLENTY)
    await store.finish(claimed.events[0])
    await store.close()
    store = SqliteStore(path)
    assert await store.open(lambda *_: None) == [Waiting(LANE, 2, 0, 1.0, 1.0)]
    assert await ids(store) == ["1", "2"]
    await store.close()
