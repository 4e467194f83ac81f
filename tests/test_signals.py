"""Signals: none is lost from the first instruction of a process to its last, and none ends more than it should."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.served import EXECUTED, Served, served
from tests.support.sockets import LOOPBACK, fetch
from tests.support.stores import Store, running_store

GATEWAY = [sys.executable, "-m", "invoke_gateway"]
AS_FIRST = ["unshare", "-r", "--pid", "--fork", "--kill-child"]


def can_be_first() -> bool:
    try:
        return subprocess.run([*AS_FIRST, "true"], capture_output=True, timeout=60).returncode == 0
    except OSError:
        return False


def first_of(parent: int) -> int | None:
    """The process that `unshare` has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.skipif(not can_be_first(), reason="no process namespaces here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_as_the_first_process_it_ends_by_a_signal_while_it_is_being_imported(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The kernel drops what the first process of a container has no handler for."""
    with served(tmp_path, prefix=AS_FIRST) as gateway:
        pid = 0

        def is_prepared() -> bool:
            nonlocal pid
            pid = first_of(gateway.process.pid) or 0
            caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text()) if pid else None
            return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

        wait_until(is_prepared, "its handlers are there", timeout=60)
        assert gateway.log == ""
        os.kill(pid, number)
        assert gateway.process.wait(60) == 0
        assert "Traceback" not in gateway.log


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE, signal.SIGWINCH])
def test_a_signal_that_means_nothing_ends_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        gateway.until_up()
        for _ in range(3):
            gateway.process.send_signal(number)
        if number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            gateway.until_logged(f"{number.name} is ignored")
        assert fetch(gateway.admin, "/healthz").status == 200
        assert gateway.stop() == 0
        assert gateway.log.count("is ignored") <= 1


def test_signals_from_the_first_moment_to_the_last_end_nothing_early(tmp_path: Path) -> None:
    """SIGUSR1 and SIGHUP come all the time: at the start, while it serves, while it drains and ends."""
    with served(tmp_path, prefix=EXECUTED) as gateway:
        wait_until(lambda: is_caught(gateway.process.pid), "its handlers are there", timeout=60)

        def pester() -> None:
            for number in (signal.SIGUSR1, signal.SIGHUP):
                gateway.process.send_signal(number)

        def is_up() -> bool:
            pester()
            assert gateway.process.poll() is None, gateway.log
            return "backend demo" in gateway.log

        try:
            wait_until(is_up, "it serves", timeout=60)
        finally:
            print(gateway.log)
        gateway.process.send_signal(signal.SIGTERM)

        def has_ended() -> bool:
            pester()
            return gateway.process.poll() is not None

        wait_until(has_ended, "it ends", timeout=60)
        assert gateway.process.returncode == 0
        assert gateway.log.endswith("INFO stopped\n")


def is_caught(pid: int) -> bool:
    """Whether a process handles SIGTERM."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_hang_up_during_the_start_is_a_reload(tmp_path: Path) -> None:
    with served(tmp_path, prefix=EXECUTED) as gateway:
        wait_until(lambda: is_caught(gateway.process.pid), "its handlers are there", timeout=60)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until_up()
        gateway.until_logged("settings reloaded")


def test_sigquit_drains_as_sigterm_does(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        gateway.until_up()
        assert gateway.stop(signal.SIGQUIT) == 0
        assert gateway.log.endswith("INFO stopped\n")


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGALRM])
def test_workers_outlive_what_is_sent_to_all_processes(number: signal.Signals, tmp_path: Path, store: Store) -> None:
    with served(tmp_path, "--workers", "2", "--counters", store.url, "--shared-lease-seconds", "1") as gateway:
        gateway.until_up()
        document = fetch(gateway.admin, "/workers").json
        pids = [worker["pid"] for worker in document["workers"]]
        for pid in (*pids, gateway.process.pid):
            os.kill(pid, number)
        gateway.until_logged("settings reloaded" if number == signal.SIGHUP else f"{number.name} is ignored")
        assert [worker["pid"] for worker in fetch(gateway.admin, "/workers").json["workers"]] == pids
        assert gateway.stop() == 0


# ---- signals of other commands ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway"), "--faults") as gateway:
        yield gateway.until_up()


def hold_echo(gateway: Served) -> list[str]:
    return ["hold", "echo", "--seconds", "60", "--admin", f"{LOOPBACK}:{gateway.admin}"]


def held(gateway: Served) -> int:
    holds: list[Any] = fetch(gateway.admin, "/holds").json["holds"]
    return len(holds)


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM,),
        (signal.SIGHUP,),
        (signal.SIGINT,),
        (signal.SIGQUIT,),
        (signal.SIGALRM,),
        (signal.SIGTERM, signal.SIGHUP),  # as systemd sends them with SendSIGHUP
        (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM),
    ],
    ids=lambda numbers: "+".join(number.name for number in numbers),
)
def test_a_hold_that_is_ended_gives_its_slots_back(
    numbers: tuple[signal.Signals, ...], running: Served, tmp_path: Path
) -> None:
    arguments = hold_echo(running)
    with subprocess.Popen([*GATEWAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as hold:
        wait_until(lambda: held(running) == 1, "it holds", timeout=60)
        for number in numbers:
            hold.send_signal(number)
        _, stderr = hold.communicate(timeout=60)
    assert held(running) == 0
    # Which comes first is the kernel's business; and Ctrl-C is the end of a hold that it holds, but 130 before that.
    assert hold.returncode in {128 + number for number in numbers} | ({0} if signal.SIGINT in numbers else set())
    assert stderr.strip() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_the_interpreter_ends_changes_no_exit_status(number: signal.Signals) -> None:
    code = (
        "import atexit, os; from invoke_gateway.entry import end_with; from invoke_gateway.signals import signals\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)}); signals.take(serves=False); end_with(lambda: 7)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (7, b"")


def test_a_hold_that_is_ended_while_it_is_taken_gives_its_slots_back(running: Served, tmp_path: Path) -> None:
    """The signal comes as soon as the command can take it, wherever that is."""
    for _ in range(5):
        with subprocess.Popen([*GATEWAY, *hold_echo(running)], stdout=subprocess.DEVNULL, cwd=tmp_path) as hold:
            wait_until(lambda: is_caught(hold.pid), "its handlers are there", timeout=60)
            wait_until(lambda: held(running) or hold.poll() is not None, "it holds", timeout=60)
            hold.terminate()
            assert hold.wait(60) == 128 + signal.SIGTERM
        assert held(running) == 0


def test_what_nohup_has_set_stays_so(running: Served, tmp_path: Path) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *GATEWAY, *hold_echo(running)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path) as hold:
        wait_until(lambda: held(running) == 1, "it holds", timeout=60)
        hold.send_signal(signal.SIGHUP)
        hold.send_signal(signal.SIGTERM)
        assert hold.wait(60) == 128 + signal.SIGTERM
    assert held(running) == 0


@pytest.mark.parametrize("name", ["limits", "queue"])
def test_ctrl_c_while_a_command_waits_for_an_answer_is_no_traceback(name: str, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        silent.settimeout(60)
        command = [*GATEWAY, name, "--admin", f"{LOOPBACK}:{silent.getsockname()[1]}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as asking:
            connection, _ = silent.accept()
            asking.send_signal(signal.SIGINT)
            stdout, stderr = asking.communicate(timeout=60)
            connection.close()
    assert (asking.returncode, stdout, stderr.strip()) == (130, b"", b"")
