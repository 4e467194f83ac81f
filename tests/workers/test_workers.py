"""A gateway of two workers, as users start it, on a real store."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config

from invoke_gateway.workers import handle
from invoke_gateway.workers.supervisor import running_workers
from tests.support.gateways import eventually, make_settings
from tests.support.lateness import judge
from tests.support.processes import RunningProcess, bare_environment, fetch_json, free_port, running, wait_until
from tests.support.sockets import LOOPBACK, Answer, Backend, Closed, Wire, backend, fetch, invoke, refusal_of
from tests.support.stores import Store, running_store

ROOT = Path(__file__).parents[2]
ACCOUNT = "000000000000"
LIMIT = 12
LEASE = 8.0  # seconds: long, so that what happens at once is not taken for the work of the lease


class Workers:
    """A running gateway of several workers."""

    def __init__(self, process: RunningProcess, file: Path, listen: int, admin: int) -> None:
        self.process = process
        self.file = file
        self.port = listen
        self.admin = admin

    def ask(self, path: str) -> Any:
        return fetch_json(f"http://{LOOPBACK}:{self.admin}{path}")

    def workers(self) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = self.ask("/workers")["workers"]
        return sorted(workers, key=lambda worker: worker["worker"])

    def metrics(self, path: str = "/metrics") -> dict[str, float]:
        text = fetch(self.admin, path).body.decode()
        return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:{.*})?) (\S+)$", text, re.MULTILINE)}

    def account(self) -> dict[str, Any]:
        account: dict[str, Any] = self.ask("/limits")["accounts"][0]
        return account

    def call(self, function: str = "echo", *headers: str) -> Answer:
        with Wire(self.port) as wire:
            return wire.send(invoke(function, b"{}", *headers)).answer()

    def answers_with(self) -> int | None:
        """The status of a call; None where its connection ends: it was in the queue of a worker that was killed."""
        with suppress(Closed):
            return self.call().status
        return None

    def send(self, method: str, path: str, document: object = None) -> Answer:
        """Ask the admin listener for something other than to tell."""
        with Wire(self.admin) as wire:
            body = b"" if document is None else json.dumps(document).encode()
            return wire.send(invoke("", body, "Content-Type: application/json", path=path, method=method)).answer()

    def write(self, **settings: Any) -> None:
        self.file.write_text(yaml.safe_dump(settings))

    def log(self) -> str:
        return self.process.log.read_text()


def limits(concurrent_executions: int) -> dict[str, Any]:
    account = {"concurrent_executions": concurrent_executions, "requests_per_second": "off"}
    return {"accounts": {"default": account | {"functions": {"reserved": {"reserved_concurrent_executions": 2}}}}}


@contextmanager
def workers(store: Store, behind: Backend, folder: Path, *flags: str) -> Iterator[Workers]:
    listen, admin, file = free_port(), free_port(), folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(limits(LIMIT)))
    arguments = [
        *(sys.executable, "-m", "invoke_gateway", "serve", "--config", str(file), "--workers", "2"),
        *("--backend", behind.backend.url, "--counters", store.url, "--shared-lease-seconds", str(LEASE)),
        *("--shared-store-timeout-seconds", str(LEASE / 4)),
        *("--listen", f"{LOOPBACK}:{listen}", "--admin", f"{LOOPBACK}:{admin}", *flags),
    ]
    with running(arguments, folder / "log", bare_environment(folder), cwd=ROOT) as process:
        gateway = Workers(process, file, listen, admin)
        process.wait_until(lambda: gateway.ask("/readyz").items() >= {"ready": True, "backend": "up"}.items(), "ready")
        yield gateway


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


@pytest.fixture
def gateway(store: Store, behind: Backend, tmp_path: Path) -> Iterator[Workers]:
    store.clear(ACCOUNT)
    with workers(store, behind, tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def behind_all() -> Iterator[Backend]:
    with backend() as started:
        yield started


@pytest.fixture(scope="module")
def started_once(behind_all: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with running_store("redis") as store, workers(store, behind_all, tmp_path_factory.mktemp("shared")) as started:
        yield started


@pytest.fixture
def shared(started_once: Workers, behind_all: Backend) -> Iterator[Workers]:
    """A gateway for all tests that end no process and change no limit; nothing runs in it when a test begins."""
    yield started_once
    behind_all.release()
    started_once.process.wait_until(lambda: started_once.account()["in_flight"] == 0, "all slots are back")


def hold(stack: ExitStack, gateway: Workers, behind: Backend, count: int) -> list[Wire]:
    """Calls that run until the backend lets them end, at least one of them on each worker."""
    wires: list[Wire] = []
    for _ in range(200):
        if len(wires) == count:
            break
        wire = stack.enter_context(Wire(gateway.port)).send(invoke("hold"))
        behind.until_running(len(wires) + 1)
        idle = [worker for worker in gateway.workers() if not worker["in_flight"]]
        if idle and count - len(wires) <= len(idle):  # this place is for another worker
            behind.release()
            assert wire.answer().status == 200
            return hold(stack, gateway, behind, count)
        wires.append(wire)
    return wires


def test_two_workers_hold_one_limit_together(shared: Workers, behind_all: Backend) -> None:
    reason = "ConcurrentInvocationLimitExceeded"
    refused_before = shared.account()["throttles"].get(reason, 0)
    with ExitStack() as stack:
        calls = hold(stack, shared, behind_all, LIMIT - 2)  # two are reserved for another function
        assert all(worker["in_flight"] for worker in shared.workers())
        client = boto3.client(
            "lambda",
            endpoint_url=f"http://{LOOPBACK}:{shared.port}",
            region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )
        for _ in range(4):
            with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
                client.invoke(FunctionName="echo")
            assert refused.value.response["Reason"] == reason
        account = shared.account()
        assert (account["in_flight"], account["in_flight_here"]) == (LIMIT - 2, LIMIT - 2)
        assert account["throttles"][reason] == refused_before + 4
        assert account["functions"][0]["function"] == "hold"
        assert account["functions"][0]["oldest_seconds"] > 0
        assert reason in {refusal["reason"] for refusal in shared.ask("/refusals")["refusals"]}
        behind_all.release()
        assert [wire.answer().status for wire in calls] == [200] * len(calls)


def test_metrics_are_sums_over_the_workers_and_each_worker_has_its_own(shared: Workers, behind_all: Backend) -> None:
    key = f'invoke_gateway_invocations_total{{account="{ACCOUNT}",function="other"}}'
    admissions = "invoke_gateway_admission_seconds_count"
    before = shared.metrics()
    for _ in range(40):
        assert shared.call().status == 200
    each = [shared.metrics(f"/workers/{number}/metrics") for number in (1, 2)]
    assert all(one[key] > 0 for one in each), "the kernel spreads connections"
    all_of_them = shared.metrics()
    assert all_of_them[key] == sum(one[key] for one in each) == before[key] + 40
    assert all_of_them[admissions] == before[admissions] + 40
    assert all_of_them["invoke_gateway_workers"] == 2
    assert all_of_them["process_resident_memory_bytes"] > sum(one["process_resident_memory_bytes"] for one in each)
    limit = f'invoke_gateway_concurrent_executions_limit{{account="{ACCOUNT}"}}'
    assert all_of_them[limit] == LIMIT, "a limit is no sum"
    assert fetch(shared.admin, "/workers/3/metrics").status == 404
    assert "metrics, limits" in fetch(shared.admin, "/workers/1/nonsense").json["error"]


def test_a_killed_worker_is_replaced_its_slots_are_free_at_once_and_no_counter_goes_down(
    gateway: Workers, behind: Backend
) -> None:
    with ExitStack() as stack:
        hold(stack, gateway, behind, LIMIT - 2)
        assert gateway.call().status == 429
        before = gateway.metrics()
        first, second = gateway.workers()
        os.kill(first["pid"], signal.SIGKILL)
        wait_until(lambda: gateway.answers_with() == 200, "a slot is free", timeout=LEASE / 2)
        wait_until(lambda: len(gateway.workers()) == 2, "two workers again")
        replacement = gateway.workers()[0]
        assert replacement["gateway"] == f"{first['gateway']}r1"
        assert gateway.workers()[1]["pid"] == second["pid"]
        after = gateway.metrics()
        assert after["invoke_gateway_worker_replacements_total"] == 1
        for name, value in before.items():
            if re.match(r"\w+_(total|count|sum|bucket)\b", name):
                assert after[name] >= value, name
        assert "was killed by SIGKILL, and is replaced" in gateway.log()
        behind.release()
        wait_until(lambda: gateway.account()["in_flight"] == 0, "all slots are back")


def test_where_slots_are_kept_for_calls_that_still_run_a_killed_worker_keeps_them(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    store.clear(ACCOUNT)
    with workers(store, behind, tmp_path, "--shared-reclaim-after", "timeout") as gateway, ExitStack() as stack:
        hold(stack, gateway, behind, LIMIT - 2)
        os.kill(gateway.workers()[0]["pid"], signal.SIGKILL)
        wait_until(lambda: gateway.ask("/workers")["replaced"] == 1, "the worker is back")
        assert [gateway.call().status for _ in range(4)] == [429] * 4
        behind.release()


def test_new_limits_reach_all_workers_and_those_that_come_later(gateway: Workers, behind: Backend) -> None:
    gateway.write(**limits(3))
    gateway.process._process.send_signal(signal.SIGHUP)
    gateway.process.wait_until(lambda: gateway.account()["concurrent_executions"] == 3, "new limits")
    os.kill(gateway.workers()[1]["pid"], signal.SIGKILL)
    wait_until(lambda: gateway.ask("/workers")["replaced"] == 1, "the worker is back")
    for number in (1, 2):
        assert gateway.ask(f"/workers/{number}/limits")["accounts"][0]["concurrent_executions"] == 3
    gateway.write(accounts={"default": {"concurrent_executions": -1}})
    gateway.process._process.send_signal(signal.SIGHUP)
    degraded = 'invoke_gateway_degraded{cause="settings_invalid"}'
    gateway.process.wait_until(lambda: gateway.metrics()[degraded] == 1, "the mistake is seen")
    assert gateway.account()["concurrent_executions"] == 3
    assert gateway.metrics()["invoke_gateway_config_last_reload_successful"] == 0

    def causes() -> list[str]:
        return [problem["cause"] for problem in gateway.ask("/status")["problems"]]

    # Until the next renewal, the workers may have compared their limits in the middle of the reload.
    gateway.process.wait_until(lambda: causes() == ["settings_invalid"], "the mistake is the only problem")
    status = gateway.ask("/status")
    assert [worker["worker"] for worker in status["workers"]] == [1, 2]
    assert status["counters"]["store"].partition(":")[0] in ("redis", "unix")
    assert status["queue"]["waiting"] == 0
    error = gateway.ask("/readyz")["settings_error"]
    assert status["settings"]["error"] == error
    assert "accounts.default.concurrent_executions" in error["problem"]
    gateway.write(**limits(4))
    gateway.process._process.send_signal(signal.SIGHUP)
    gateway.process.wait_until(lambda: gateway.account()["concurrent_executions"] == 4, "the mistake is corrected")
    gateway.process.wait_until(lambda: "settings_error" not in gateway.ask("/readyz"), "and no longer shown")
    assert gateway.metrics()["invoke_gateway_config_last_reload_successful"] == 1


def test_the_backends_state_is_that_of_all_workers_and_logged_once(
    store: Store, behind: Backend, tmp_path: Path
) -> None:
    store.clear(ACCOUNT)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
        origin = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        gateway = stack.enter_context(workers(store, behind, tmp_path, "--backend", origin))
        listener.close()
        gateway.process.wait_until(lambda: gateway.ask("/readyz")["backend"] == "down", "down", timeout=60)
        assert gateway.ask("/readyz")["ready"] is True
        assert gateway.metrics()["invoke_gateway_backend_up"] == 0
        port = int(origin.rpartition(":")[2])
        stack.enter_context(socket.create_server((LOOPBACK, port)))
        gateway.process.wait_until(lambda: gateway.ask("/readyz")["backend"] == "up", "up", timeout=60)
    lines = [line for line in gateway.log().splitlines() if "backend http" in line]
    assert sum("is down" in line for line in lines) == 1
    assert sum("is up again" in line for line in lines) == 1


@pytest.mark.parametrize("who", ["the supervisor alone", "every process, as by a service manager"])
def test_a_gateway_that_is_told_to_stop_lets_the_calls_of_all_workers_end(
    gateway: Workers, behind: Backend, who: str
) -> None:
    with ExitStack() as stack:
        calls = hold(stack, gateway, behind, 4)
        pids = [worker["pid"] for worker in gateway.workers()]
        gateway.process._process.send_signal(signal.SIGTERM)
        if who.startswith("every"):
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        gateway.process.wait_until(lambda: "draining: 4 invocations in flight" in gateway.log(), "draining")
        with pytest.raises(Exception, match="503"):
            gateway.ask("/readyz")
        behind.release()
        assert [wire.answer().status for wire in calls] == [200] * 4
        assert gateway.process._process.wait(60) == 0
        assert not any(is_alive(pid) for pid in pids)


def test_who_tells_it_twice_does_not_wait(gateway: Workers, behind: Backend) -> None:
    with ExitStack() as stack:
        hold(stack, gateway, behind, 2)
        gateway.process._process.send_signal(signal.SIGTERM)
        gateway.process.wait_until(lambda: "draining" in gateway.log(), "draining")
        gateway.process._process.send_signal(signal.SIGTERM)
        assert gateway.process._process.wait(60) == 0
        behind.release()


def test_workers_end_when_their_supervisor_is_killed(gateway: Workers) -> None:
    pids = [worker["pid"] for worker in gateway.workers()]
    gateway.process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "the workers have ended")


def test_a_worker_that_is_told_to_stop_lets_its_calls_end_and_is_replaced(gateway: Workers, behind: Backend) -> None:
    with ExitStack() as stack:
        calls = hold(stack, gateway, behind, 4)
        os.kill(gateway.workers()[0]["pid"], signal.SIGTERM)
        behind.release()
        assert [wire.answer().status for wire in calls] == [200] * 4
        wait_until(lambda: gateway.ask("/workers")["replaced"] == 1, "the worker is back")
        key = f'invoke_gateway_invocations_total{{account="{ACCOUNT}",function="other"}}'
        assert gateway.metrics()[key] >= 4


@pytest.mark.lateness
def test_a_worker_that_is_stopped_holds_nobody_up(gateway: Workers) -> None:
    pid = gateway.workers()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with suppress(OSError):  # the first to look waits a second for it
            gateway.workers()
        asked = time.monotonic()
        for _ in range(3):
            assert gateway.metrics()["invoke_gateway_workers"] == 2
            assert gateway.account()["concurrent_executions"] == LIMIT
        judge(asked, 3)  # six answers
    finally:
        with suppress(ProcessLookupError):  # a machine that is slow: its silence was too long
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_hangs_is_killed_and_replaced(
    store: Store, behind: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "_HANG_SECONDS", 4.0)  # longer than a busy machine keeps the other one waiting
    settings = make_settings(behind.backend.url, counters=store.url, workers=2)

    async def hang() -> None:
        async with running_workers(settings) as running:
            pids = {worker.number: worker.process.pid for worker in running.workers.serving()}
            os.kill(pids[2], signal.SIGSTOP)
            await eventually(lambda: running.workers.replaced == 1, "it is replaced", 20)
            assert {worker.number for worker in running.workers.serving()} == {1, 2}
            assert {worker.process.pid for worker in running.workers.serving()} & set(pids.values()) == {pids[1]}

    asyncio.run(hang())


def test_slots_are_held_and_released_whichever_worker_has_them(shared: Workers) -> None:
    taken = shared.send("POST", "/holds", {"function": "reserved", "slots": 2})
    assert taken.status == 201
    id = taken.json["id"]
    assert [held["id"] for held in shared.ask("/holds")["holds"]] == [id]
    assert refusal_of(shared.call("reserved"))[:2] == (429, "TooManyRequestsException")
    assert shared.account()["holds"] == 2
    assert shared.send("POST", "/holds", {"function": "reserved"}).status == 409
    assert shared.send("POST", "/holds", {"slots": "many"}).status == 400
    assert shared.send("DELETE", f"/holds/{id}").status == 204
    assert shared.send("DELETE", f"/holds/{id}").status == 404
    assert shared.send("DELETE", "/holds/17").status == 404
    assert shared.call("reserved").status == 200
    assert "--faults" in shared.send("POST", "/faults", {}).json["error"]


def test_holders_are_those_of_all_workers(shared: Workers, behind_all: Backend) -> None:
    with ExitStack() as stack:
        hold(stack, shared, behind_all, 4)
        names = {worker["gateway"] for worker in shared.workers()}
        for _ in range(3):  # at once, and each time: the workers are asked, not the lists in the store
            asked = shared.ask("/in-flight")
            assert [row["function"] for row in asked["holders"]] == ["hold"] * 4
            assert (asked["left_out"], asked["trouble"]) == (0, None)
        assert len(shared.send("GET", "/in-flight?function=hold&most=1").json["holders"]) == 1
        assert shared.send("GET", "/in-flight?function=none").json["holders"] == []
        assert shared.send("GET", "/in-flight?most=0").status == 400
        shown = json.dumps(shared.ask("/in-flight"))
        assert all(name.rpartition(".")[2] in shown for name in names)
        refused = shared.send("DELETE", f"/in-flight/{min(names)}")
        assert (refused.status, "force" in refused.json["error"]) == (409, True)
        assert shared.send("DELETE", "/in-flight/g-none").status == 404
        behind_all.release()


def test_calls_that_have_ended_are_no_holders_any_more_at_once(shared: Workers, behind_all: Backend) -> None:
    with ExitStack() as stack:
        calls = hold(stack, shared, behind_all, 4)
        assert len(shared.ask("/in-flight")["holders"]) == 4
        behind_all.release()
        assert [wire.answer().status for wire in calls] == [200] * 4
    shared.process.wait_until(lambda: shared.account()["in_flight"] == 0, "all slots are back")
    assert shared.ask("/in-flight")["holders"] == []


def test_a_worker_that_is_stopped_is_named_where_its_part_is_missing_and_hangs_no_page(
    gateway: Workers, behind: Backend
) -> None:
    """Each page answers within its reader's two seconds or is asked once more, by when the silence is noticed."""
    stopped, other = gateway.workers()
    os.kill(stopped["pid"], signal.SIGSTOP)
    silence = f"Worker {stopped['worker']} does not reply"
    try:
        gateway.process.wait_until(lambda: gateway.workers()[0]["silent_seconds"] is not None, "it is noticed")
        assert gateway.workers()[1]["silent_seconds"] is None
        for path in ("/in-flight", "/holds", "/refusals", "/queue"):
            assert gateway.ask(path)["trouble"].startswith(silence), path
        assert gateway.ask("/limits")["shared"]["trouble"].startswith(silence)
        ready = gateway.ask("/readyz")
        assert (ready["ready"], ready["degraded"].startswith(silence)) == (True, True)
        assert gateway.send("POST", "/holds", {"function": "reserved"}).status == 201
        assert gateway.metrics()["invoke_gateway_workers"] == 2
        os.kill(other["pid"], signal.SIGSTOP)
        gateway.process.wait_until(lambda: gateway.send("GET", "/readyz").status == 503, "not ready without workers")
        assert "No worker replies" in gateway.ask("/in-flight")["trouble"]
        assert gateway.send("POST", "/holds", {"function": "reserved"}).status == 503
        assert gateway.send("GET", "/queue").status == 503
        assert gateway.ask("/limits")["accounts"][0]["concurrent_executions"] == LIMIT
    finally:
        for worker in (stopped, other):
            with suppress(ProcessLookupError):  # a machine that is slow: its silence was too long
                os.kill(worker["pid"], signal.SIGCONT)
    gateway.process.wait_until(lambda: gateway.ask("/in-flight")["trouble"] is None, "both answer again")


def watch_until(wire: Wire, is_there: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the first live document of which `is_there` is true."""
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen += wire.take(65536)
        *lines, seen = seen.split(b"\n")
        for line in lines:
            if line.startswith(b"data: {") and is_there(document := json.loads(line[6:])):
                return dict(document)
    raise AssertionError(seen)


def test_the_live_page_shows_all_workers(gateway: Workers, behind: Backend) -> None:
    """Calls in flight, refusals, rates of the last minute, and the workers themselves."""
    with ExitStack() as stack:
        for _ in range(6):
            assert gateway.call("reserved").status == 200
        hold(stack, gateway, behind, LIMIT - 2)
        assert [gateway.call("stranger").status for _ in range(4)] == [429] * 4
        wire = stack.enter_context(Wire(gateway.admin))
        wire.send(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = watch_until(
            wire,
            lambda document: (
                document["accounts"][0]["in_flight"] == LIMIT - 2
                and sum(one["count"] for one in document["refusing_now"]) == 4
                and any(row["calls_per_second"] for row in document["functions"])
                and document["gateway"]["backend"] == "up"
            ),
        )
        behind.release()
    rows = {row["function"]: row for row in seen["functions"]}
    assert rows["hold"]["in_flight"] == LIMIT - 2
    assert 0 < rows["reserved"]["calls_per_second"] <= 6
    assert 0 < rows["reserved"]["p50_seconds"] <= rows["reserved"]["p99_seconds"]
    (refused,) = seen["refusing_now"]
    assert (refused["function"], refused["example"]) == ("other", "stranger")  # it has no metrics of its own
    assert refused["limit"] == "unreserved_concurrent_executions"
    assert [worker["worker"] for worker in seen["workers"]] == [1, 2]
    assert sum(worker["in_flight"] for worker in seen["workers"]) == LIMIT - 2
    assert (seen["problems"], seen["fault_scripts"], seen["gateway"]["name"][:2]) == ([], None, "g-")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "2", "--counters", "redis://127.0.0.1:1/0", "--faults"], "counts its calls in one process"),
        (["--workers", "0", "--counters", "redis://127.0.0.1:1/0"], "a whole number from 1 to 256"),
    ],
)
def test_what_workers_cannot_do_is_refused_in_words(flags: list[str], words: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "invoke_gateway", "serve", *flags]
    with running(arguments, tmp_path / "log", bare_environment(tmp_path), cwd=ROOT) as process:
        assert process._process.wait(60) == 2
        assert words in " ".join(process.tail().split())


def test_a_taken_port_is_one_clear_message(store: Store, tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        flags = ["--workers", "2", "--counters", store.url, "--listen", address, "--admin", f"{LOOPBACK}:0"]
        arguments = [sys.executable, "-m", "invoke_gateway", "serve", *flags]
        with running(arguments, tmp_path / "log", bare_environment(tmp_path), cwd=ROOT) as process:
            assert process._process.wait(60) == 2
            start, line = process.tail().splitlines()
    assert ", 2 workers), no settings file" in start
    assert f"cannot listen on {address} (listen)" in line


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
