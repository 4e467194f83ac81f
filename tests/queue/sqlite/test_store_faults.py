"""Damages the file of a store in earnest: a full disk, a lock, a damaged page, `kill -9`."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from invoke_gateway.queue.base import CannotOpen, StoreError
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.sqlite import journal as sqlite_journal
from invoke_gateway.queue.sqlite import owned_file as sqlite_file
from invoke_gateway.queue.sqlite.owned_file import PAGE_BYTES
from invoke_gateway.queue.sqlite.store import SqliteStore
from tests.support import forking
from tests.support.lateness import judge
from tests.support.processes import bare_environment

ROOT = Path(__file__).parents[3]
CHILD = [sys.executable, "-m", "tests.queue.sqlite.crash_child"]
PLENTY = 1 << 40


def event(request_id: str, body: bytes = b"{}") -> Event:
    return Event(request_id, "default", "f", "arn", b"/", b"", [], body, 1.0, 1.0, "lane")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(sqlite_journal, "SHORTEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_journal, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(sqlite_journal, "CLOSE_SECONDS", 0.2)


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open(lambda *_: None)
    return store


async def ids(store: SqliteStore) -> list[str]:
    return [one.request_id for one in (await store.claim_due("lane", 1e9, 1_000_000, PLENTY)).events]


async def until_well(store: SqliteStore) -> None:
    async with asyncio.timeout(60):
        while store.problem is not None:  # noqa: ASYNC110 - a store tells nobody that its trouble is over
            await asyncio.sleep(0.01)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process has locked the file."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.communicate("")


def overwrite(path: Path, pages: list[int], seed: int) -> None:
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(page * PAGE_BYTES)
            file.write(random.Random(seed + page).randbytes(PAGE_BYTES))


def check_filling(output: str, kinds: set[str]) -> None:
    lines = output.splitlines()
    refused, troubled, well, same = lines
    assert refused.split()[1] in kinds
    assert troubled.startswith("trouble The queue's file")
    assert well == "trouble None"
    assert same.startswith("same")
    assert int(same.split()[1]) > 100


def test_a_file_that_may_not_grow_refuses_events_and_loses_none(path: Path) -> None:
    """By RLIMIT_FSIZE, which needs no rights: to SQLite it is an error of input and output."""
    run = subprocess.run([*CHILD, "fill", path, "3000000"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    check_filling(run.stdout, {"failed", "full"})


def test_a_full_disk_refuses_events_and_loses_none(path: Path) -> None:
    """A small tmpfs, in a mount namespace of its own."""
    small = path.parent / "small"
    small.mkdir()
    child = " ".join([*CHILD, "fill", str(small / "queue.db"), "0"])
    inside = f"mount -t tmpfs -o size=4m none {small} && exec {child}"
    for unshare in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        try:
            probe = [*unshare, "sh", "-c", f"mount -t tmpfs none {small}"]
            why = subprocess.run(probe, capture_output=True, text=True, timeout=60).stderr
        except FileNotFoundError as error:
            why = str(error)
        if not why:
            break
    else:
        pytest.skip(f"no tmpfs can be mounted here: {why}")
    command = [*unshare, "sh", "-c", inside]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    check_filling(run.stdout, {"full"})


async def put_again_and_again(store: SqliteStore) -> None:
    while True:
        with suppress(StoreError):
            await store.enqueue(event("big", b"x" * 1_000_000))


async def test_in_a_full_file_events_can_end_and_make_room(path: Path) -> None:
    store = await opened(path)
    store._writer._execute("PRAGMA max_page_count = 100")
    kept: list[str] = []
    fault = None
    while fault is None:
        try:
            await store.enqueue(event(name := str(len(kept)), b"x" * 2_000))
            kept.append(name)
        except StoreError as raised:
            fault = raised
    assert fault.kind == "full"
    assert "Free space on its file system" in str(fault)
    assert len(kept) > 50
    assert "cannot grow" in str(store.problem)
    fetched = await store.claim_due("lane", 1.0, 20, PLENTY)
    big, small = event("big", b"x" * 1_000_000), event("small")
    puts = [asyncio.create_task(store.enqueue(big)), asyncio.create_task(store.enqueue_claimed(small))]
    said = asyncio.create_task(store.requeue(small))  # in the same batch
    hammering = asyncio.create_task(put_again_and_again(store))
    ends = asyncio.gather(said, *map(store.ack, fetched.events))
    await asyncio.wait_for(ends, 60)
    hammering.cancel()
    refused = await asyncio.gather(*puts, return_exceptions=True)
    assert [fault.kind for fault in refused if isinstance(fault, StoreError)] == ["full", "full"]
    await until_well(store)
    await store.enqueue(event("room", b"x" * 2_000))
    assert await ids(store) == [*kept[20:], "room"]
    await store.close()


@pytest.mark.usefixtures("short_times")
async def test_under_a_lock_puts_are_refused_and_everything_else_waits_in_its_order(path: Path) -> None:
    store = await opened(path)
    for name in ("ends", "moves", "stays"):
        await store.enqueue(event(name))
    ends, moves, _ = (await store.claim_due("lane", 1.0, 3, PLENTY)).events
    new, at_work = event("new"), event("at work")
    with locked(path):
        put = asyncio.gather(store.enqueue(new), store.enqueue_claimed(at_work), return_exceptions=True)
        await asyncio.sleep(0)
        moves.runs = 1
        kept = [asyncio.create_task(store.update(moves)), asyncio.create_task(store.ack(ends))]
        at_once = asyncio.create_task(store.requeue(at_work))
        await asyncio.sleep(0)
        moves.runs, moves.due_at = 2, 5.0
        kept.append(asyncio.create_task(store.requeue(moves)))
        refused = await put
        assert [fault.kind for fault in refused if isinstance(fault, StoreError)] == ["locked", "locked"]
        assert "End that program" in str(refused[0])
        assert "has locked" in str(store.problem)
        assert (new.key, at_work.key) == (None, None)
        await at_once
        assert await store.claim_due("lane", 9.0, 9, PLENTY) == ([], None)
        with pytest.raises(StoreError, match="has locked"):
            await store.enqueue(event("another"))
        assert not any(task.done() for task in kept)
    await asyncio.wait_for(asyncio.gather(*kept), 60)
    assert store.problem is None
    assert await store.claim_due("lane", 9.0, 9, PLENTY) == ([moves], None)
    await store.close()
    store = await opened(path)
    assert await ids(store) == ["stays", "moves"]
    await store.close()


@pytest.mark.usefixtures("short_times")
async def test_what_is_said_of_an_event_while_it_cannot_be_written_is_written_last(path: Path) -> None:
    store = await opened(path)
    mine = event("mine")
    await store.enqueue_claimed(mine)
    with locked(path):
        mine.runs = 1
        first = asyncio.create_task(store.update(mine))
        async with asyncio.timeout(60):
            while not store._journal._writing:  # noqa: ASYNC110 - it tells nobody that it has begun
                await asyncio.sleep(0)
        mine.runs = 2
        second = asyncio.create_task(store.requeue(mine))
        async with asyncio.timeout(60):
            while store.problem is None:  # noqa: ASYNC110 - a store sends no notice of its problem
                await asyncio.sleep(0.01)
    await asyncio.wait_for(asyncio.gather(first, second), 60)
    assert (await store.claim_due("lane", 9.0, 9, PLENTY)).events == [mine]
    await store.close()


@pytest.mark.usefixtures("short_times")
async def test_trouble_ends_by_itself_when_nothing_is_kept(path: Path) -> None:
    store = await opened(path)
    with locked(path), pytest.raises(StoreError):
        await store.enqueue(event("refused"))
    assert store.problem is not None
    await until_well(store)
    assert await ids(store) == []
    await store.close()


@pytest.mark.usefixtures("short_times")
@pytest.mark.lateness
async def test_what_cannot_be_written_holds_up_the_end_only_so_long(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(path)
    mine = event("mine")
    await store.enqueue_claimed(mine)
    with locked(path):
        end = asyncio.create_task(store.ack(mine))
        await asyncio.sleep(0)
        began = time.monotonic()
        await store.close()
        judge(began, 2)
        await end
    assert "1 changes of events could not be written; these events will run again. Another program" in caplog.text
    store = await opened(path)
    assert await ids(store) == ["mine"]
    await store.close()


async def full_of(path: Path, events: int) -> list[str]:
    store = await opened(path)
    names = [str(number) for number in range(events)]
    await asyncio.gather(*(store.enqueue(event(name, b"x" * 1_000)) for name in names))
    await store.close()
    return names


async def test_a_file_that_was_cut_off_is_refused(path: Path) -> None:
    await full_of(path, 300)
    os.truncate(path, path.stat().st_size - PAGE_BYTES)  # noqa: ASYNC240 - nothing else runs
    with pytest.raises(CannotOpen, match=r"is damaged .* `sqlite3 <moved file> .recover`"):
        await opened(path)


@pytest.mark.parametrize("seed", range(8))
async def test_a_damaged_file_is_refused_or_says_so_when_the_damage_is_met(path: Path, seed: int) -> None:
    names = await full_of(path, 1_000)
    pages = path.stat().st_size // PAGE_BYTES  # noqa: ASYNC240 - nothing else runs
    overwrite(path, random.Random(seed).sample(range(pages), 1 + seed), seed)
    try:
        store = await opened(path)
    except CannotOpen as error:
        assert "is no database" in str(error) or "damaged" in str(error) or "no queue" in str(error)  # noqa: PT017
        return
    with pytest.raises(StoreError, match=r"is damaged .* move .* away\b.*\.recover") as met:
        assert await ids(store) == names
    assert met.value.kind == "damaged"
    with pytest.raises(StoreError, match="is damaged"):
        await store.enqueue(event("new"))
    assert "is damaged" in str(store.problem)
    await store.close()


@pytest.mark.usefixtures("short_times")
async def test_in_a_file_damaged_while_it_is_open_what_is_on_sound_pages_still_ends(path: Path) -> None:
    await full_of(path, 1_000)
    store = await opened(path)
    fetched = (await store.claim_due("lane", 1.0, 1_000, PLENTY)).events
    pages = path.stat().st_size // PAGE_BYTES  # noqa: ASYNC240 - nothing else runs
    overwrite(path, list(range(pages // 2, pages)), 1)
    ends = [asyncio.create_task(store.ack(one)) for one in (*fetched[:5], *fetched[-5:])]
    await asyncio.wait(ends[:5], timeout=60)
    assert [end.done() for end in ends[:5]] == [True] * 5
    assert not all(end.done() for end in ends[5:])
    with pytest.raises(StoreError, match="is damaged"):
        await store.enqueue(event("new"))
    await store.close()
    await asyncio.gather(*ends)


def child_that_puts(path: Path, first: int) -> subprocess.Popen[str]:
    command = [*CHILD, "put", str(path), str(first)]
    return forking.Popen(command, env=bare_environment(path.parent), cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_answered_survives_kill_9_at_any_moment(path: Path, seed: int) -> None:
    put, ending, ended = set(), set(), set()
    dice = random.Random(seed)
    for life in range(3):
        with child_that_puts(path, life * 1_000_000) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(dice.randrange(40, 400))]
            child.kill()
            lines += child.stdout.read().splitlines()
        words = [line.split() for line in lines]
        for kind, names in (("put", put), ("ending", ending), ("ended", ended)):
            names.update(word[1] for word in words if len(word) == 2 and word[0] == kind)
        store = await opened(path)
        there = await ids(store)
        await store.close()
        assert len(there) == len(set(there))
        assert put - ending <= set(there)
        assert not ended & set(there)
    assert len(put) > 50


async def test_a_file_is_free_as_soon_as_its_owner_was_killed(path: Path) -> None:
    with child_that_puts(path, 0) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(CannotOpen, match=f"The process {child.pid} owns the queue's file"):
            await opened(path)
        child.kill()
        child.communicate()
    store = await opened(path)
    assert await store.backlog()
    await store.close()
