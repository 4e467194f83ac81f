"""No router of a real framework runs a path that the gateway does not count (docs/reference/paths.md).

`python -m tests.live.paths` prints the same as a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live import servers
from tests.live.paths import (
    PLAIN,
    SPELLINGS,
    Router,
    all_routers,
    find_function,
    find_holes,
    judge,
    measure,
    mix_spellings,
    node_routers,
    send,
    why_no_node,
)
from tests.support.processes import fetch_json, wait_until
from tests.support.tools import NODE, NPM

AT_ONCE = 5
METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]
OTHERS = [path for path in SPELLINGS if judge(path)[0] == "-"]


@pytest.fixture(scope="module")
def routers(folder: Path, ministack: str, gateway: servers.Gateway) -> Iterator[list[Router]]:
    """Those of Python's frameworks, of MiniStack with its functions, and of Node's frameworks where Node is."""
    with all_routers(folder, ministack) as started:
        yield started


def test_no_router_runs_a_spelling_that_is_not_counted(routers: list[Router]) -> None:
    rows = measure(routers, SPELLINGS)
    assert find_holes(rows) == []
    by_path = {row.path: row for row in rows}
    assert set(by_path[PLAIN].ran) == {router.name for router in routers}, "each router knows the plain path"
    assert by_path[PLAIN].verdict == "counted"
    for path in OTHERS:
        assert by_path[path].ran == {}


def test_the_routers_of_node_are_among_them(routers: list[Router]) -> None:
    if reason := why_no_node():
        NODE.require()
        NPM.require()
        pytest.skip(reason)
    assert {"express", "koa", "hono", "fastify, lenient", "hapi, lenient"} <= {router.name for router in routers}


@pytest.mark.parametrize("seed", range(3))
def test_no_router_runs_a_mixture_of_spellings_that_is_not_counted(routers: list[Router], seed: int) -> None:
    rows = measure(routers, mix_spellings(seed, 100))
    assert find_holes(rows) == []
    assert any(row.ran for row in rows), "the routers run some of them, those of Python alone too"


# ---- the gateway before Express -------------------------------------------------------------------------------


class Guarded:
    """A gateway with one slot before Express, whose functions run until they are let go."""

    def __init__(self, express: Router, gateway: servers.Gateway) -> None:
        self.express = express
        self.gateway = gateway
        self._port = int(gateway.url.rpartition(":")[2])

    def running(self) -> dict[str, int]:
        return dict(fetch_json(f"http://127.0.0.1:{self.express.port}/_running"))

    def call_at_once(self, path: str, method: str = "POST") -> tuple[int, list[int]]:
        """How many of five calls ran at once, and the status of each answer."""
        send(self.express.port, "/_forget")

        def is_over() -> bool:
            if sum(call.done() for call in calls) + self.running()["running"] >= AT_ONCE:
                send(self.express.port, "/_release")
            return all(call.done() for call in calls) and not self._is_busy()

        with ThreadPoolExecutor(AT_ONCE) as pool:
            calls: list[Future[bytes]] = [pool.submit(send, self._port, path, method) for _ in range(AT_ONCE)]
            try:
                wait_until(is_over, f"{path} is over", 60)
            finally:
                send(self.express.port, "/_release")
        return self.running()["most"], sorted(int(call.result().split(b" ")[1]) for call in calls)

    def _is_busy(self) -> bool:
        queue = fetch_json(f"{self.gateway.admin}/queue")
        return bool(self.gateway.in_flight("000000000000") or queue["events"] or self.running()["running"])


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Guarded]:
    if reason := why_no_node():
        NODE.require()
        NPM.require()
        pytest.skip(reason)
    directory = folder / "guarded"
    directory.mkdir()
    with ExitStack() as stack:
        express = next(router for router in stack.enter_context(node_routers(directory)) if router.name == "express")
        limits = ("--concurrent-executions", "1", "--requests-per-second", "off")
        backend = f"http://127.0.0.1:{express.port}"
        yield Guarded(express, stack.enter_context(servers.gateway(directory, backend, *limits)))


@pytest.mark.parametrize("path", [path for path in SPELLINGS if path not in OTHERS])
def test_one_of_five_calls_runs_at_once_however_its_path_is_written(guarded: Guarded, path: str) -> None:
    """A path that is counted for a function that Express runs: one runs, or five events do so one by one."""
    most, statuses = guarded.call_at_once(path.replace("check", "hold"))
    verdict, _ = judge(path)
    if verdict == "counted" and find_function(guarded.express, path) is not None:
        assert most == 1
        assert statuses in ([200, 429, 429, 429, 429], [202] * AT_ONCE)
    else:
        assert most <= 1
        assert set(statuses) <= {202, 400, 404, 429}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [PLAIN, PLAIN.replace("invocations", "Invocations")])
def test_one_of_five_calls_runs_at_once_whatever_its_method(guarded: Guarded, method: str, path: str) -> None:
    assert guarded.call_at_once(path.replace("check", "hold"), method) == (1, [200, 429, 429, 429, 429])
