"""Two gateways on one store, as users start them; one is killed with calls in flight. The other shows its calls, and
gives its slots back when somebody says that they are over."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main
from tests.scenarios.test_shared_counters import ACCOUNT, LIMIT, Process, gateways, hold
from tests.support.processes import wait_until
from tests.support.sockets import Backend, Wire, invoke
from tests.support.stores import Store, running_store

ID = "12345678-abcd-4000-8000-123456789abc"
LEASE = 5.0  # seconds; no busy machine keeps a gateway from renewing it for half of that
FLAGS = ("--shared-lease-seconds", str(LEASE), "--shared-reclaim-after", "timeout")
FLAGS += ("--backend-timeout-seconds", "600")  # by itself it would take ten minutes


@pytest.fixture
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


def run(gateway: Process, *arguments: str) -> Result:
    address = gateway._admin.removeprefix("http://")
    return CliRunner().invoke(main, [*arguments, "--admin", address])


def holders(gateway: Process, *arguments: str) -> dict[str, Any]:
    result = run(gateway, "in-flight", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.output)
    return document


def name_of(gateway: Process) -> str:
    name: str = gateway.ask("/limits")["shared"]["gateway"]
    return name


def is_alive(gateway: Process, name: str) -> bool:
    (found,) = (one for one in holders(gateway)["gateways"] if one["gateway"] == name)
    return bool(found["is_alive"])


def test_what_a_killed_gateway_ran_is_shown_by_another_which_gives_its_slots_back_when_told_to(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    with gateways(2, store, behind, tmp_path, *FLAGS) as (one, two), ExitStack() as stack:
        dead, living = name_of(one), name_of(two)
        stack.enter_context(Wire(one.port)).send(invoke("hold", b"{}", f"x-amzn-RequestId: {ID}"))
        behind.until_running(1)
        hold(stack, one, behind, LIMIT - 2, already=1)
        calls = hold(stack, two, behind, 1, already=LIMIT - 1)
        wait_until(lambda: len(holders(two)["holders"]) == LIMIT, "all calls are known to the other")

        refused = run(two, "in-flight", "release", "--gateway", dead)
        assert refused.exit_code == 1
        assert refused.stderr.startswith(f"invoke-gateway: {dead} is alive: it renewed its lease within half a lease.")
        assert store.sums(ACCOUNT)[f"{ACCOUNT}/account"] == LIMIT

        one.process.kill()
        wait_until(lambda: not is_alive(two, dead), "it is missed")
        time.sleep(1.5 * LEASE)  # its lease is over, and its slots are kept
        document = holders(two, "hold")
        assert Counter(row["gateway"] for row in document["holders"]) == {dead: LIMIT - 1, living: 1}
        assert {
            row["gateway"]: row["age_seconds"] > 1.5 * LEASE for row in document["holders"] if row["request_id"] == ID
        } == {dead: True}
        text = run(two, "in-flight").output
        assert f"{dead} holds {LIMIT - 1} slots of account {ACCOUNT}; the gateway does not renew its lease" in text
        assert two.call().status == 429

        released = run(two, "in-flight", "release", "--gateway", dead)
        assert released.output == f"{dead}: released {LIMIT - 1} slots of account {ACCOUNT}\n"
        assert two.call().status == 200
        assert store.sums(ACCOUNT)[f"{ACCOUNT}/account"] == 1

        again = run(two, "in-flight", "release", "--gateway", dead)
        assert again.exit_code == 1
        assert f"No gateway '{dead}' holds slots" in again.stderr
        assert f"Known gateways: {living}." in again.stderr
        behind.release()
        assert [wire.answer().status for wire in calls] == [200]
        two.process.wait_until(lambda: store.sums(ACCOUNT) == {}, "everything is back")


def test_a_living_gateway_that_is_released_by_force_counts_its_calls_again(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    with gateways(2, store, behind, tmp_path) as (one, two), ExitStack() as stack:
        name = name_of(one)
        calls = hold(stack, one, behind, 2)
        released = run(two, "in-flight", "release", "--gateway", name, "--force")
        assert released.exit_code == 0, released.stderr
        assert released.output.startswith(
            f"{name}: released 2 slots of account {ACCOUNT}; the gateway lives, and counts"
        )
        wait_until(lambda: store.sums(ACCOUNT).get(f"{ACCOUNT}/account") == 2, "it has registered again")
        behind.release()
        assert [wire.answer().status for wire in calls] == [200, 200]
