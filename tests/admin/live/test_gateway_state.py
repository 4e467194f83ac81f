"""The members about the gateway itself are bounded, and change no more than once a second."""

from __future__ import annotations

from typing import Any, cast

from invoke_gateway.admin.live.gateway_state import MOST_HOLDS, MOST_SCRIPTS, GatewayState
from invoke_gateway.admin.live.queue_watch import QueueWatch
from invoke_gateway.policy.fault_script import FaultScripts, FaultStep
from invoke_gateway.policy.invoke_errors import find_error
from invoke_gateway.queue.depths import Depth
from invoke_gateway.upstream.health import BackendState
from tests.admin.live.test_queue_watch import Queue


def make(**given: Any) -> GatewayState:
    usual: dict[str, Any] = {
        "version": "1.2.3",
        "backend_url": "http://127.0.0.1:9000",
        "backend": BackendState("http://127.0.0.1:9000"),
        "degraded": {},
        "name": None,
        "describe_holds": list,
        "fault_scripts": None,
        "queue": None,
    }
    return GatewayState(**usual | given, now=lambda: 1000.0)


def causes(state: GatewayState) -> list[Any]:
    return [problem["cause"] for problem in cast("list[dict[str, Any]]", state.describe()["problems"])]


def test_it_has_the_facts_of_the_head_line() -> None:
    backend = BackendState("http://127.0.0.1:9000")
    state = make(backend=backend, degraded={"settings_invalid": True, "event_store": False, "background_task": True})
    assert state.describe()["gateway"] == {
        "version": "1.2.3",
        "name": None,
        "backend_url": "http://127.0.0.1:9000",
        "started_at": 1000.0,
        "backend": "unknown",
    }
    assert causes(state) == ["settings_invalid", "background_task"]
    backend.record_down("refused")
    assert causes(state)[0] == "backend_down"
    assert state.describe()["gateway"] | {"backend": "down", "backend_error": "refused"} == state.describe()["gateway"]


async def test_the_causes_of_the_queue_are_as_new_as_its_numbers() -> None:
    queue = Queue()
    watched = QueueWatch(queue, pause_seconds=0)  # it reads only
    state = make(queue=watched, degraded={"event_store": True, "events_held": False, "restart_needed": True})
    assert causes(state) == ["restart_needed", "event_store"]
    queue.depths["000000000000", "a"] = Depth(held=2)
    await watched.read()
    assert causes(state) == ["restart_needed", "events_held"]
    queue.fails = True
    await watched.read()
    (_, problem, _) = state.describe()["problems"]
    assert (problem["cause"], problem["detail"]) == ("event_store", "The disk is gone.")


def test_scripts_that_go_on_are_shown_with_their_next_steps() -> None:
    scripts = FaultScripts()
    steps = [FaultStep(2), FaultStep(1, error=find_error("ServiceException")), FaultStep(1, latency_seconds=2.0)]
    script, _ = scripts.add("000000000000", "checkout", steps)
    over, _ = scripts.add("000000000000", "search", [FaultStep(1)])
    over.take()
    for _ in range(2):
        script.take()
    (described,) = make(fault_scripts=scripts).describe()["fault_scripts"]
    assert described == {
        "id": "1",
        "account": "000000000000",
        "function": "checkout",
        "calls": 2,
        "injected": 0,
        "position": 2,
        "steps": 3,
        "loop": False,
        "next": [{"error": "ServiceException"}, {"latency_seconds": 2.0}],
    }


def test_holds_and_scripts_are_bounded_and_the_rest_is_counted() -> None:
    scripts = FaultScripts()
    for number in range(MOST_SCRIPTS + 3):
        scripts.add("000000000000", f"f{number}", [FaultStep(5)])
    holds = [{"id": str(number), "seconds_left": 9.6} for number in range(MOST_HOLDS + 2)]
    document: dict[str, Any] = make(fault_scripts=scripts, describe_holds=lambda: holds).describe()
    assert (len(document["fault_scripts"]), document["fault_scripts_left_out"]) == (MOST_SCRIPTS, 3)
    assert (len(document["holds"]), document["holds_left_out"]) == (MOST_HOLDS, 2)
    assert document["holds"][0] == {"id": "0", "seconds_left": 10}


def test_workers_are_shown_with_whole_seconds() -> None:
    assert make().describe()["workers"] is None
    assert make().describe()["fault_scripts"] is None
    workers = [{"worker": 1, "serving_seconds": 12.7, "silent_seconds": None}]
    document = make(describe_workers=lambda: workers).describe()
    assert document["workers"] == [{"worker": 1, "serving_seconds": 12, "silent_seconds": None}]
