"""The work of a call is counted, not timed: no call does more than in the committed baseline.

Where a test here fails after a change of the path of all calls, its text has the numbers and the command that accepts
them.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from invoke_gateway.app.gateway import Gateway
from invoke_gateway.asgi import App, Receive, Scope, Send
from loadtests.bench.counted import baseline
from loadtests.bench.counted.baseline import Counted
from loadtests.bench.counted.driven import COUNTED_PATHS
from loadtests.bench.counted.instructions import Work, count_work
from loadtests.bench.counted.system_calls import NO_STRACE, count_system_calls, find_obstacle
from loadtests.bench.paths import FORWARDED, PATHS, REFUSED
from tests.support.tools import STRACE


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    """The baseline, where it is of these versions of Python and of the packages."""
    found = baseline.read()
    obstacle = baseline.find_obstacle(found)
    if obstacle is not None:
        pytest.skip(obstacle)
    return found


class PassOn:
    """A stage that only calls the next one."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.mark.parametrize("path", COUNTED_PATHS)
def test_a_call_executes_no_more_than_the_baseline(path: str, committed: dict[str, Any]) -> None:
    if path not in committed["work"][baseline.python_version()]:
        pytest.skip(f"the baseline has no {path} calls of this version of Python")
    excess = baseline.find_excess(committed, path, Counted(count_work(path), None))
    assert not excess, "\n".join([*excess, baseline.CURE])


@pytest.mark.parametrize("path", PATHS)
def test_a_call_makes_no_more_system_calls_than_the_baseline(path: str, committed: dict[str, Any]) -> None:
    obstacle = find_obstacle()
    if obstacle == NO_STRACE:
        STRACE.skip()
    if obstacle is not None:
        pytest.skip(obstacle)
    counted = Counted(count_work(path), count_system_calls(path))
    excess = baseline.find_excess(committed, path, counted)
    assert not excess, "\n".join([*excess, baseline.CURE])


def test_two_counts_are_equal() -> None:
    assert count_work(REFUSED) == count_work(REFUSED)


@pytest.mark.parametrize("path", PATHS)
def test_a_stage_more_is_found(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    list_stages = Gateway._list_stages

    def list_one_more(gateway: Gateway, *given: Any, **named: Any) -> Any:
        return [partial(PassOn), *list_stages(gateway, *given, **named)]

    without = count_work(path)
    monkeypatch.setattr(Gateway, "_list_stages", list_one_more)
    with_it = count_work(path)
    assert with_it.calls > without.calls
    assert with_it.instructions > without.instructions
    exact = {"work": {baseline.python_version(): {path: without._asdict()}}, "system_calls": {path: {}}}
    assert baseline.find_excess(exact, path, Counted(without, None)) == []
    found = baseline.find_excess(exact, path, Counted(with_it, None))  # a coroutine more may cost a task as well
    assert found[-1].startswith(f"A {path} call calls {with_it.calls} functions; the baseline has {without.calls} (")


def test_a_further_system_call_is_named() -> None:
    work, allowed = Work(100, 10), Counter(read=2, write=2)
    exact = {"work": {baseline.python_version(): {FORWARDED: work._asdict()}}, "system_calls": {FORWARDED: allowed}}
    assert baseline.find_excess(exact, FORWARDED, Counted(work, allowed)) == []
    (sentence,) = baseline.find_excess(exact, FORWARDED, Counted(work, allowed + Counter(write=1)))
    assert sentence == "A forwarded call makes 5 system calls; the baseline has 4 (+25.0%). 1 more write."


def test_provisioned_versions_cost_the_calls_of_others_nothing() -> None:
    functions = {f"f{number}": {"provisioned_concurrent_executions": {"7": 2}} for number in range(1000)}
    assert count_work(FORWARDED, functions=functions) == count_work(FORWARDED)
