"""Moves the file of the queue, its log and its lock, and checks that no event is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from invoke_gateway.queue.base import CannotOpen, StoreError
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.sqlite import journal as sqlite_journal
from invoke_gateway.queue.sqlite import store as sqlite
from invoke_gateway.queue.sqlite.moved_file import FileLocation
from invoke_gateway.queue.sqlite.store import SqliteStore

PLENTY = 1 << 40
SUFFIXES = ("", "-wal", "-shm", ".lock")

Change = Callable[[Path], object]


def event(request_id: str) -> Event:
    return Event(request_id, "default", "f", "arn", b"/", b"", [], b"{}", 1.0, 1.0, "lane")


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open(lambda *_: None)
    return store


async def ids(store: SqliteStore) -> list[str]:
    fetched = (await store.claim_due("lane", 1e9, 1_000_000, PLENTY)).events
    await store.release(fetched)
    return [one.request_id for one in fetched]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - a store sends no notice of its trouble
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_journal, "SHORTEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_journal, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", 0.02)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await opened(path)
    await store.enqueue(event("before"))
    yield store
    await store.close()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def replace_all(path: Path) -> None:
    """By another queue that has events of its own."""
    move_folder(path)
    path.parent.mkdir()

    async def make() -> None:
        store = await opened(path)
        await store.enqueue(event("of another"))
        shutil.copytree(path.parent, path.parent.with_name("copy"))
        await store.close()

    asyncio.run(make())
    shutil.rmtree(path.parent)
    path.parent.with_name("copy").rename(path.parent)


def replace_by_a_copy(path: Path) -> None:
    shutil.copy(path, beside(path, ".copy"))
    beside(path, ".copy").rename(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def move_folder_and_make_another(path: Path) -> None:
    move_folder(path)
    path.parent.mkdir()


def link_and_unlink(path: Path) -> None:
    os.link(path, beside(path, ".link"))
    path.unlink()


def replace_folder_by_link(path: Path) -> None:
    move_folder(path)
    path.parent.with_name("other").mkdir()
    path.parent.symlink_to(path.parent.with_name("other"))


def remove(suffix: str) -> Change:
    return lambda path: beside(path, suffix).unlink()


def replace(suffix: str) -> Change:
    def do(path: Path) -> None:
        beside(path, suffix).unlink()
        beside(path, suffix).write_bytes(b"")

    return do


CHANGES = {
    **{f"remove queue.db{suffix}": remove(suffix) for suffix in SUFFIXES},
    **{f"replace queue.db{suffix}": replace(suffix) for suffix in SUFFIXES},
    "remove the folder": lambda path: shutil.rmtree(path.parent),
    "move the folder": move_folder,
    "move the folder, make another": move_folder_and_make_another,
    "move the folder, link another": replace_folder_by_link,
    "replace the file by its copy": replace_by_a_copy,
    "replace all by another queue": replace_all,
    "rename the file": lambda path: path.rename(path.with_name("renamed.db")),
    "hard link": lambda path: os.link(path, beside(path, ".link")),
    "hard link of the lock": lambda path: os.link(beside(path, ".lock"), beside(path, ".link")),
    "hard link and unlink": link_and_unlink,
    "cut the file off": lambda path: os.truncate(path, 0),
    "cut the file short": lambda path: os.truncate(path, 8_192),
    "cut the log off": lambda path: os.truncate(beside(path, "-wal"), 0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_no_event_is_taken_into_a_file_that_a_start_would_not_find(
    store: SqliteStore, path: Path, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(change, path)
    claimed = event("claimed")
    refused = await asyncio.gather(store.enqueue(event("new")), store.enqueue_claimed(claimed), return_exceptions=True)
    assert [type(fault) for fault in refused] == [StoreError, StoreError]
    assert isinstance(refused[0], StoreError)
    assert refused[0].kind in ("replaced", "damaged")
    assert claimed.key is None
    assert store.problem == str(refused[0])
    lines = [record.getMessage() for record in caplog.records]
    assert store.problem in lines
    # A change of several steps may be seen between two of them.
    assert all(line != following for line, following in pairwise(lines))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_is_noticed_where_nothing_is_written(store: SqliteStore, path: Path, change: Change) -> None:
    await asyncio.to_thread(change, path)
    await until(lambda: store.problem is not None)
    await asyncio.sleep(0.1)
    assert store.problem is not None


REPLACED = {name: change for name, change in CHANGES.items() if not name.startswith("cut")}


@pytest.mark.parametrize("change", REPLACED.values(), ids=REPLACED)
async def test_what_was_taken_before_still_runs(store: SqliteStore, path: Path, change: Change) -> None:
    await store.enqueue(event("runs"))
    await asyncio.to_thread(change, path)
    with pytest.raises(StoreError):
        await store.enqueue(event("refused"))
    before, runs = (await store.claim_due("lane", 9.0, 9, PLENTY)).events
    await asyncio.wait_for(store.ack(runs), 30)
    before.due_at = 20.0
    await asyncio.wait_for(store.requeue(before), 30)
    assert await ids(store) == ["before"]


@pytest.mark.parametrize("is_noticed_first", [False, True])
async def test_a_file_that_is_brought_back_goes_on_with_what_was_written_meanwhile(
    path: Path, is_noticed_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(path)
    for name in ("ends", "stays"):
        await store.enqueue(event(name))
    move_folder(path)
    if is_noticed_first:
        await until(lambda: store.problem is not None)
    with pytest.raises(StoreError) as refused:
        await store.enqueue(event("refused"))
    assert f"it is now {path.parent.with_name('moved') / 'queue.db'}" in str(refused.value)
    ends, _ = (await store.claim_due("lane", 9.0, 9, PLENTY)).events
    await asyncio.wait_for(store.ack(ends), 30)
    path.parent.with_name("moved").rename(path.parent)
    await until(lambda: store.problem is None)
    assert caplog.text.count("the queue's file can be written again") == 1
    await store.enqueue(event("after"))
    await store.close()
    store = await opened(path)
    assert await ids(store) == ["stays", "after"]
    await store.close()


async def test_the_end_touches_nothing_of_another_queue_at_the_path_and_counts_what_is_left(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(path)
    for name in ("one", "two"):
        await store.enqueue(event(name))
    await asyncio.to_thread(replace_all, path)
    await store.close()
    assert "2 events stay in a queue's file that the next start will not find. The queue's file" in caplog.text
    for folder, there in (("state", ["of another"]), ("moved", ["one", "two"])):
        store = await opened(path.parent.with_name(folder) / "queue.db")
        assert await ids(store) == there
        await store.close()


async def test_an_event_is_refused_when_the_file_goes_between_its_commit_and_its_answer(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = store._writer._transaction

    def commit_and_move(rows: object) -> object:
        done = transaction(rows)  # type: ignore[arg-type]  # as it came
        monkeypatch.undo()
        move_folder(path)
        return done

    monkeypatch.setattr(store._writer, "_transaction", commit_and_move)
    with pytest.raises(StoreError, match="was removed or moved"):
        await store.enqueue(event("new"))
    assert await ids(store) == ["before"]
    path.parent.with_name("moved").rename(path.parent)
    await until(lambda: store.problem is None)
    assert await ids(store) == ["before"]


async def test_a_folder_that_is_moved_within_a_check_is_named_as_in_each_later_check(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = FileLocation._check

    def look_and_move(location: FileLocation, what: str) -> StoreError | None:
        found = look(location, what)
        monkeypatch.undo()
        move_folder(path)
        return found

    monkeypatch.setattr(FileLocation, "_check", look_and_move)
    faults = [str(store._file.location.check()) for _ in range(2)]
    assert faults[0].startswith("The queue's file ")
    assert faults[0] == faults[1]


OPEN = """
import asyncio, sys
from pathlib import Path
from invoke_gateway.queue.base import CannotOpen
from invoke_gateway.queue.sqlite.store import SqliteStore
try:
    asyncio.run(SqliteStore(Path(sys.argv[1])).open(lambda *_: None))
except CannotOpen as error:
    sys.exit(str(error))
"""


def open_elsewhere(path: Path | str, folder: Path) -> str:
    """What a second process is answered that opens the file; nothing where it may."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", OPEN, str(path)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60).stderr


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("has_lock", [True, False])
async def test_a_second_process_is_refused_by_whatever_name_it_has_the_file(path: Path, has_lock: bool) -> None:
    folder, elsewhere = path.parent, path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "file.db").symlink_to(path)
    (elsewhere / "folder").symlink_to(folder)
    names = [path, elsewhere / "file.db", elsewhere / "folder" / "queue.db", "../state/queue.db"]
    if not has_lock:
        beside(path, ".lock").unlink()
    for name in names:
        said = await asyncio.to_thread(open_elsewhere, name, elsewhere)
        assert (f"The process {os.getpid()} owns" if has_lock else "Another process owns") in said
    os.link(path, elsewhere / "hard.db")
    assert "Another process owns" in await asyncio.to_thread(open_elsewhere, elsewhere / "hard.db", elsewhere)
    left = {one.name for one in (*folder.iterdir(), *elsewhere.iterdir())}
    assert left == {
        "queue.db",
        "queue.db-wal",
        "queue.db-shm",
        "file.db",
        "folder",
        "hard.db",
        *["queue.db.lock"] * has_lock,
    }


async def test_a_file_with_two_names_is_not_opened(path: Path) -> None:
    await (await opened(path)).close()
    os.link(path, beside(path, ".link"))
    with pytest.raises(CannotOpen, match=r"has 2 names \(hard links\)"):
        await opened(path)
    beside(path, ".link").unlink()
    await (await opened(path)).close()


async def test_a_link_to_the_file_that_points_elsewhere_is_noticed(path: Path, tmp_path: Path) -> None:
    other, link = tmp_path / "other.db", tmp_path / "link.db"
    await (await opened(other)).close()
    await (await opened(path)).close()
    link.symlink_to(path)
    store = await opened(link)
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(StoreError, match="was replaced by another"):
        await store.enqueue(event("new"))
    await store.close()


async def test_a_program_that_reads_the_file_changes_nothing(store: SqliteStore, path: Path) -> None:
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM events').fetchone())"
    for _ in range(2):
        run = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
        )
        assert run.stdout == "(1,)\n"
    await asyncio.sleep(0.1)
    assert store.problem is None


@pytest.mark.parametrize("how", ["file", "folder"])
async def test_rights_that_are_taken_away_lose_nothing(path: Path, how: str) -> None:
    """Kept events are in the file; one that cannot be reached by its name takes no new ones."""
    store = await opened(path)
    target = path if how == "file" else path.parent
    mode = target.stat().st_mode
    target.chmod(0)
    try:
        (fault,) = await asyncio.gather(store.enqueue(event("new")), return_exceptions=True)
    finally:
        target.chmod(mode)
    assert fault is None or "cannot be reached" in str(fault)
    await until(lambda: store.problem is None)
    await store.close()
    store = await opened(path)
    assert await ids(store) == (["new"] if fault is None else [])
    await store.close()
