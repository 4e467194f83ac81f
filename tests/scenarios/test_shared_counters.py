"""Gateways in processes of their own that share counters: what happens when one of them is killed, or stopped for a
while."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.lateness import judge
from tests.support.processes import RunningProcess, bare_environment, fetch_json, free_port, running, wait_until
from tests.support.sockets import Answer, Backend, Wire, invoke, refusal_of
from tests.support.stores import KINDS, Store, running_store

ROOT = Path(__file__).parents[2]
LEASE = 4.0  # seconds; a quarter of it is the time of the store, and no busy machine stands still for so long
LIMIT = 4
ACCOUNT = "000000000000"


class Process:
    """A gateway as users start it."""

    def __init__(self, process: RunningProcess, listen: int, admin: int) -> None:
        self.process = process
        self.port = listen
        self._admin = f"http://127.0.0.1:{admin}"

    def ask(self, path: str) -> Any:
        return fetch_json(f"{self._admin}{path}")

    def is_ready(self) -> bool:
        return bool(self.ask("/readyz")["ready"])

    def call(self, function: str = "echo") -> Answer:
        with Wire(self.port) as wire:
            return wire.send(invoke(function)).answer()

    def signal(self, number: int) -> None:
        self.process._process.send_signal(number)


@contextmanager
def gateways(count: int, store: Store, behind: Backend, folder: Path, *flags: str) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        started = []
        for number in range(count):
            listen, admin = free_port(), free_port()
            arguments = [
                *(
                    sys.executable,
                    "-m",
                    "invoke_gateway",
                    "serve",
                    "--backend",
                    behind.backend.url,
                    "--counters",
                    store.url,
                ),
                *("--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"),
                *("--shared-store-timeout-seconds", str(LEASE / 4)),
                *("--shared-lease-seconds", str(LEASE), "--concurrent-executions", str(LIMIT)),
                *("--requests-per-second", "off", *flags),
            ]
            process = stack.enter_context(
                running(arguments, folder / f"{number}.log", bare_environment(folder), cwd=ROOT)
            )
            started.append(Process(process, listen, admin))
        for gateway in started:
            gateway.process.wait_until(gateway.is_ready, "ready")
        yield started


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as started:
        yield started


def hold(stack: ExitStack, gateway: Process, behind: Backend, count: int, already: int = 0) -> list[Wire]:
    """Calls that run until the backend is told to let them end."""
    wires = [stack.enter_context(Wire(gateway.port)).send(invoke("hold")) for _ in range(count)]
    behind.until_running(already + count)
    return wires


@pytest.mark.lateness
def test_a_killed_gateways_slots_come_back_within_its_lease(store: Store, behind: Backend, tmp_path: Path) -> None:
    with gateways(2, store, behind, tmp_path) as (one, two), ExitStack() as stack:
        hold(stack, one, behind, LIMIT)
        answer = two.call()
        assert (answer.status, json.loads(answer.body)["Reason"]) == (429, "ConcurrentInvocationLimitExceeded")
        account = two.ask("/limits")["accounts"][0]
        assert (account["in_flight"], account["in_flight_here"]) == (LIMIT, 0)
        wait_until(lambda: two.ask("/limits")["shared"]["gateways"] == 2, "both are counted")
        killed = time.monotonic()
        one.process.kill()
        wait_until(lambda: two.call().status == 200, "a slot has come back")
        judge(killed, LEASE + 1)
        assert time.monotonic() - killed > LEASE / 2
        behind.release()


def test_a_gateway_that_was_stopped_for_leases_counts_its_calls_again_before_it_admits(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    with gateways(2, store, behind, tmp_path) as (one, two), ExitStack() as stack:
        calls = hold(stack, one, behind, 3)
        one.signal(signal.SIGSTOP)
        time.sleep(1.5 * LEASE)  # it is stopped for so long: nothing can tell of it
        calls += hold(stack, two, behind, 3, already=3)  # the store has given the slots of the stopped one back
        one.signal(signal.SIGCONT)
        with Wire(one.port) as wire:
            assert wire.send(invoke()).answer().status == 429
        assert store.sums(ACCOUNT)[f"{ACCOUNT}/account"] == 6
        assert two.call().status == 429
        behind.release()
        assert [wire.answer().status for wire in calls] == [200] * 6
        one.process.wait_until(lambda: store.sums(ACCOUNT) == {}, "everything is back")


def test_while_the_store_is_stopped_calls_are_refused_in_lambdas_shape(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    with gateways(1, store, behind, tmp_path) as (one,):
        store.pause()
        answer = one.call()
        assert refusal_of(answer)[:2] == (500, "ServiceException")
        assert "shared counters are unavailable" in refusal_of(answer)[2]
        assert answer.header("x-invoke-gateway-decision") == "counters=away"
        with pytest.raises(Exception, match="503"):
            one.ask("/readyz")
        with Wire(int(one._admin.rpartition(":")[2])) as wire:
            hold = invoke("", b'{"function": "echo"}', "Content-Type: application/json", path="/holds")
            answer = wire.send(hold).answer()
            assert (answer.status, "unavailable" in answer.json["error"]) == (503, True)
            text = wire.send(invoke(method="GET", path="/metrics")).answer().body.decode()
        assert 'invoke_gateway_degraded{cause="store_unavailable"} 1' in text
        assert 'invoke_gateway_store_fallback_total{decision="refused"} 2' in text
        store.resume()
        one.process.wait_until(one.is_ready, "ready again")
        assert one.call().status == 200


def test_a_gateway_that_stops_gives_everything_back(store: Store, behind: Backend, tmp_path: Path) -> None:
    with gateways(1, store, behind, tmp_path, "--drain-seconds", "0") as (one,), ExitStack() as stack:
        hold(stack, one, behind, 2)
        assert store.sums(ACCOUNT)[f"{ACCOUNT}/account"] == 2
        one.signal(signal.SIGTERM)
        one.process._process.wait(60)
        assert store.sums(ACCOUNT) == {}
        behind.release()
