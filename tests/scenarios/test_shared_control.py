"""Several gateways on one store: a limit that is set at one of them holds at all, and survives what may happen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.admin_client import AdminClient
from invoke_gateway.control.file_store import read_state
from tests.support.processes import wait_until
from tests.support.served import Served, served
from tests.support.sockets import fetch
from tests.support.stores import Store, running_store

from .test_control_state import GET, call, put

LEASE = 6.0  # seconds; a quarter of it is the time of the store, and no busy machine stands still for so long
ACCOUNT = "000000000000"
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


def settings(store: Store, **more: Any) -> dict[str, Any]:
    return {
        "counters": store.url,
        "shared": {"lease_seconds": LEASE, "store_timeout_seconds": LEASE / 4},
        "control": {"check_existence": False},
        "accounts": {"default": {"requests_per_second": "off"}},
        **more,
    }


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as running:
        running.clear(ACCOUNT)
        yield running


@pytest.fixture(scope="module")
def gateways(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        started = [
            stack.enter_context(served(tmp_path_factory.mktemp(f"gateway{number}"), **settings(store)))
            for number in range(3)
        ]
        for gateway in started:
            gateway.until_up()
        yield started


def invoke(gateway: Served, function: str = "echo") -> tuple[int, dict[str, Any]]:
    return call(gateway.port, "POST", f"/2015-03-31/functions/{function}/invocations", {})


def read_limit(gateway: Served, function: str) -> int | None:
    """Returns the reservation that the admin listener shows."""
    account = json.loads(fetch(gateway.admin, "/limits").body)["accounts"][0]
    found = {row["function"]: row for row in account["functions"]}.get(function)
    return None if found is None or found["set_by"] != "API" else found["ceiling"]


def test_a_limit_holds_on_all_gateways_when_its_put_is_answered(gateways: list[Served]) -> None:
    one, *others = gateways
    for round in range(10):
        slots = round % 2
        assert put(one.port, slots)[0] == 200
        for gateway in (*others, one):
            if slots:  # a gateway that knows the lower limit only refuses by it for a moment
                wait_until(lambda gateway=gateway: invoke(gateway)[0] == 200, f"round {round}: the higher limit")
            else:
                assert invoke(gateway)[1].get("Reason") == RESERVED, f"round {round}"
    assert [call(gateway.port, "GET", GET.format("echo")) for gateway in gateways] == [
        (200, {"ReservedConcurrentExecutions": 1})
    ] * 3


def test_a_gateway_without_calls_shows_a_new_limit_soon(gateways: list[Served]) -> None:
    for slots in (3, 4, 5):
        began = time.monotonic()
        assert put(gateways[0].port, slots, "sleep")[0] == 200
        for gateway in gateways:
            wait_until(lambda gateway=gateway, slots=slots: read_limit(gateway, "sleep") == slots, "the new limit")
        print(f"in force on 3 gateways without calls after {time.monotonic() - began:.3f} s")


def test_changes_at_several_gateways_at_once_lose_none(gateways: list[Served]) -> None:
    functions = [f"f{number}" for number in range(24)]
    before = json.loads(fetch(gateways[0].admin, "/limits").body)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: put(gateways[n % 3].port, n + 1, functions[n])[0], range(len(functions))))
    assert answers == [200] * len(functions), before
    for number, function in enumerate(functions):
        found = call(gateways[number % 2].port, "GET", GET.format(function))
        assert found == (200, {"ReservedConcurrentExecutions": number + 1})


def test_a_store_that_was_emptied_gets_the_limits_back(gateways: list[Served], store: Store) -> None:
    assert put(gateways[0].port, 0)[0] == 200
    revision = store.client().hget(f"invoke-gateway:{{{ACCOUNT}}}:control", "revision")
    store.client().flushall()
    wait_until(
        lambda: store.client().hget(f"invoke-gateway:{{{ACCOUNT}}}:control", "revision") == revision, "written back"
    )
    wait_until(lambda: invoke(gateways[1], "echo-other")[0] == 200, "the store has recovered")
    for gateway in gateways:
        assert invoke(gateway)[1]["Reason"] == RESERVED


def test_a_put_without_the_store_is_refused_with_the_cause_and_changes_nothing(
    gateways: list[Served], store: Store
) -> None:
    assert put(gateways[0].port, 0)[0] == 200
    store.kill()
    status, answer = put(gateways[1].port, 7)
    assert (status, answer["Type"]) == (500, "Service"), answer
    assert "The shared counters at " in answer["Message"]
    assert call(gateways[1].port, "GET", GET.format("echo")) == (200, {"ReservedConcurrentExecutions": 0})
    store.start()  # empty
    wait_until(lambda: put(gateways[2].port, 1, "sleep")[0] == 200, "the store has recovered")
    for gateway in gateways:
        assert invoke(gateway)[1]["Reason"] == RESERVED


def test_every_worker_serves_the_operations_and_the_supervisor_shows_the_limits(store: Store, tmp_path: Path) -> None:
    with served(tmp_path, **settings(store, workers=2)) as gateway:
        gateway.until_up()
        for slots in (2, 0, 1, 0):
            assert put(gateway.port, slots, "echo-workers") == (200, {"ReservedConcurrentExecutions": slots})
            for _ in range(6):  # connections spread over the workers
                if slots:
                    wait_until(lambda: invoke(gateway, "echo-workers")[0] == 200, "the higher limit")
                else:
                    assert invoke(gateway, "echo-workers")[1].get("Reason") == RESERVED
            assert read_limit(gateway, "echo-workers") == slots
        assert gateway.stop() == 0


def test_a_document_that_one_gateway_sets_holds_on_all_and_can_be_dropped_at_another(gateways: list[Served]) -> None:
    three = gateways[2]
    functions = {"imported": {"reserved_concurrent_executions": 0}, "second": {"reserved_concurrent_executions": 6}}
    document = {"accounts": {"default": {"functions": functions}}}
    admins = [AdminClient(f"127.0.0.1:{gateway.admin}") for gateway in gateways]
    assert len(admins[0].import_control(document)["changed"]) == 2
    assert [invoke(gateway, "imported")[0] for gateway in gateways] == [429, 429, 429]
    assert admins[1].export_control()["accounts"]["default"]["functions"].items() >= functions.items()
    for name in functions:
        admins[1].reset_control(name)
    # The demo backend has no such function: an admitted call gets 404. Another gateway learns of a raised limit
    # with its next reading of the revisions.
    wait_until(lambda: invoke(three, "imported")[0] == 404, "the limit is dropped")
    left = admins[2].export_control()["accounts"].get("default", {"functions": {}})["functions"]
    assert left.keys().isdisjoint(functions)


def test_limits_of_workers_with_an_embedded_store_survive_a_kill_of_all(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    given: dict[str, Any] = {
        "workers": 2,
        "control": {"store": f"file://{file}", "check_existence": False},
        "accounts": {"default": {"requests_per_second": "off"}},
    }
    for slots in (0, 1):
        with served(tmp_path, **given) as gateway:
            gateway.until_up()
            if slots:
                for _ in range(4):  # connections spread over the workers
                    assert invoke(gateway)[1].get("Reason") == RESERVED
            assert put(gateway.port, slots)[0] == 200
            gateway.process.kill()
            gateway.process.wait()
        assert read_state(file).function(ACCOUNT, "echo").reserved_concurrent_executions == slots
    file.write_bytes(file.read_bytes()[:-5])
    with served(tmp_path, **given) as gateway:
        assert gateway.process.wait(60) == 2
        assert f"The control state {file} is damaged" in gateway.log
