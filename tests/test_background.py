"""No background task of a gateway dies unnoticed: each is killed in turn, and is seen, logged and running again."""

from __future__ import annotations

import ast
import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway import background
from invoke_gateway.background import CAUSE, BackgroundTasks
from invoke_gateway.server.run import serve_in_process
from invoke_gateway.settings import Address
from invoke_gateway.workers.supervisor import running_workers
from tests.support import clients
from tests.support.gateways import eventually, make_settings
from tests.support.sockets import Backend
from tests.support.stores import Store, running_store

INVOKE = "/2015-03-31/functions/echo/invocations"
EVENT = {"x-amz-invocation-type": "Event"}
ROOT = Path(__file__).parent.parent / "gateway" / "invoke_gateway"


class Boom(Exception):
    """What a task dies of."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(background, "STEADY_SECONDS", 0.05)


@pytest.fixture
def tasks() -> BackgroundTasks:
    return BackgroundTasks()


# ---- the construct ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "how"), [("raise", "failed"), ("cancel", "was cancelled"), ("return", "ended")])
async def test_an_end_is_logged_shown_counted_and_mended(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture, end: str, how: str
) -> None:
    starts = 0
    is_up = asyncio.Event()

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            if end == "raise":
                raise Boom
            if end == "return":
                return
        is_up.set()
        await asyncio.Event().wait()

    async with tasks.running(work, "clock") as task:
        if end == "cancel":
            await is_up.wait()
            is_up.clear()
            task._task.cancel()
        await eventually(lambda: tasks.degraded[CAUSE], "it is degraded")
        await is_up.wait()
        assert [record.levelname for record in caplog.records if how in record.message] == ["ERROR"]
        assert "'clock'" in caplog.text
        assert ("Boom" in caplog.text) == (end == "raise")
        assert tasks.failures == {"clock": 1}
        await eventually(lambda: not tasks.degraded[CAUSE], "it has recovered")
        assert starts == 2


async def test_the_pauses_grow_to_a_bound(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.004)

    async def work() -> None:
        raise Boom

    async with tasks.running(work, "clock"):
        await eventually(lambda: tasks.failures["clock"] >= 5, "it was started again and again")
        assert tasks.degraded[CAUSE]
    pauses = [record.args[2] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]
    assert not tasks.degraded[CAUSE]  # it is wanted no more


async def test_what_fails_while_it_is_closed_is_logged_and_no_matter_to_the_rest(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Boom

    async with tasks.running(work, "clock"):
        await asyncio.sleep(0)
    assert "failed at its end" in caplog.text
    assert tasks.failures == {"clock": 0}


async def test_work_that_may_end_is_not_begun_again(tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    task = tasks.start(work, "reader", may_end=True)
    await eventually(lambda: task.is_over, "it is over")
    assert (tasks.failures, caplog.records) == ({"reader": 0}, [])


async def test_a_failed_callback_of_the_event_loop_is_logged_and_shown_for_a_while(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise Boom

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(tasks.handle_exception)
    loop.call_soon(fail)
    await eventually(lambda: tasks.degraded[CAUSE], "it is degraded")
    assert "Boom" in caplog.text
    await eventually(lambda: not tasks.degraded[CAUSE], "it has recovered")


# ---- a whole gateway --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


@asynccontextmanager
async def serving(kind: str, url: str, store: Store, folder: Path) -> AsyncIterator[Any]:
    """A gateway in this process; of workers, the process that supervises them."""
    shared = {"counters": store.url, "shared": {"lease_seconds": 1}}
    if kind == "alone":
        made = serve_in_process(make_settings(url, **{"async": {"store": f"sqlite://{folder / 'events.db'}"}}))
    elif kind == "shared":
        made = serve_in_process(make_settings(url, **shared, **{"async": {"store": store.url}}))
    else:
        made = running_workers(make_settings(url, workers=2, **shared))
    async with made as server:
        yield server


SHORT = ("Task-", "look for the backend", "count the queue")
"""How the names of tasks begin that end by themselves."""

KINDS = ("alone", "shared", "workers")


def list_tasks(before: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Those of the gateway that run until the gateway ends, by name."""
    tasks = [task for task in asyncio.all_tasks() - before if not task.get_name().startswith(SHORT)]
    return sorted(tasks, key=lambda task: task.get_name())


def count_tasks(before: set[asyncio.Task[Any]]) -> Counter[str]:
    return Counter(task.get_name() for task in list_tasks(before))


async def until_served(address: Address) -> None:
    """Wait until a call is served. Counters that began anew refuse for the time of a lease."""
    async with asyncio.timeout(60):
        while (await clients.call(address, INVOKE, b"1")).status != 200:  # noqa: ASYNC110 (calls are tried)
            await asyncio.sleep(0.05)


def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def fail(task: asyncio.Task[Any]) -> None:
    waiter = task._fut_waiter  # type: ignore[attr-defined]  # what it waits for fails, whatever that is
    if waiter is not None and not waiter.done() and not isinstance(waiter, asyncio.Task):
        try:
            waiter.set_exception(Boom())
        except RuntimeError:  # a future of a group of others
            task.cancel()
    else:
        task.cancel()


@pytest.mark.parametrize("kill", [cancel, fail], ids=["cancelled", "failed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_each_task_of_a_gateway_may_die(
    kind: str,
    kill: Callable[[asyncio.Task[Any]], None],
    store: Store,
    behind: Backend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.clear()
    before = asyncio.all_tasks()
    async with serving(kind, behind.backend.url, store, tmp_path) as server:
        await until_served(server.listen)
        names = count_tasks(before)
        assert len(names) >= {"alone": 4, "shared": 8, "workers": 5}[kind], names
        for name in names:
            caplog.clear()
            counted = sum(server.tasks.failures.values())
            kill(next(task for task in list_tasks(before) if task.get_name() == name))
            await eventually(lambda: caplog.records, f"the end of {name} is logged")
            if name == "replies of a worker":
                assert "the worker is replaced" in caplog.text
                await eventually(lambda: server.workers.replaced, "another worker has taken its place", timeout=30)
            elif kill is cancel or sum(server.tasks.failures.values()) > counted:
                await eventually(lambda: server.tasks.degraded[CAUSE], f"the end of {name} is shown")
            else:
                assert "Boom" in caplog.text  # it lives on
            await eventually(lambda: count_tasks(before) == names, f"{name} runs again")
            await eventually(lambda: not server.tasks.degraded[CAUSE], f"{name} has recovered")
        await until_served(server.listen)
        event = await clients.call(server.listen, INVOKE, b"2", headers=EVENT)
        assert event.status == 202
        answer = await clients.call(server.admin, "/metrics", None, method="GET", host="localhost")
        assert b'invoke_gateway_background_task_failures_total{task="sparklines"} ' in answer.body
        assert b'invoke_gateway_degraded{cause="background_task"} 0' in answer.body
        caplog.clear()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert list_tasks(before) == []


async def test_the_heartbeat_of_shared_counters_may_die(
    store: Store, behind: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a thread with an event loop of its own: without it the store forgets what runs here."""
    store.clear()
    async with serving("shared", behind.backend.url, store, tmp_path) as server:
        shard = server.gateway.shared._servers._shard
        lease = shard._lease_events._lease
        monkeypatch.setattr(lease, "_renew", None)  # which is not to be called
        lease.renew_now()
        await eventually(lambda: server.tasks.degraded[CAUSE], "its end is shown")
        assert "The heartbeat of the shared counters failed" in caplog.text
        monkeypatch.undo()
        await eventually(lambda: not server.tasks.degraded[CAUSE], "it renews the leases again")
        assert server.tasks.failures["heartbeat"] >= 1


async def test_an_event_whose_run_is_killed_waits_again(
    behind: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(behind.backend.url, **{"async": {"store": f"sqlite://{tmp_path / 'events.db'}"}})
    async with serve_in_process(settings) as server:
        path = INVOKE.replace("echo", "hold")
        assert (await clients.call(server.listen, path, b"{}", headers=EVENT)).status == 202
        dispatcher = server.gateway.events.dispatcher
        assert dispatcher is not None
        await eventually(lambda: len(behind.forwarded()) == 1, "it runs")
        (task,) = dispatcher.tasks.running
        task.cancel()
        await eventually(lambda: len(behind.forwarded()) == 2, "it runs again")
        assert "a task of the event dispatcher failed" in caplog.text
        behind.release()
        await eventually(lambda: not dispatcher.tasks, "it has ended")


# ---- the rule ---------------------------------------------------------------------------------------------------

BARE = {
    "background.py": "the construct itself",
    "dialing.py": "a look-up of a name, awaited by the calls that need its addresses",
    "listener/pipeline.py": "one for each connection, which is closed at its end",
    "upstream/pool.py": "an attempt to connect, awaited by a call that has no task",
    "upstream/upload.py": "an upload, awaited by the request",
    "upstream/health.py": "one look at the backend, awaited by whoever wants it",
    "demo/api.py": "an event of the demo backend",
    "workers/channel.py": "the ends of the channel, each of which ends its worker",
    "workers/worker.py": "as above",
    "queue/event_tasks.py": "runs and deliveries, given back at their end",
    "queue/depths.py": "a look, whose failure is what the look says",
    "counters/shared/lease_thread.py": "the thread of the heartbeat, started again by itself",
    "telemetry/logs/line_writer.py": "the thread of the log, which goes on after any failure and logs that",
    "control/store.py": "a change, awaited by its request and at the end",
    "workers/embedded_server.py": "reads the server's output to its end, and is awaited after it",
    "workers/server_guard.py": "ends the server with its supervisor, in a process of its own",
    "testing/child.py": "ends the process with its parent",
}
"""Files that start tasks or threads by themselves, and who notices their end."""


def test_no_other_file_starts_a_task_or_a_thread_by_itself() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] != "chaos"  # a proof ends when one of its tasks does
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("create_task", "ensure_future", "Thread")
    }
    assert found == set(BARE)
