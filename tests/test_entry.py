"""How a process begins and ends: its standard streams, signals at any moment, and outputs that cannot be written."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import bare_environment, wait_until
from tests.support.served import Served, served
from tests.support.sockets import LOOPBACK, fetch
from tests.support.stores import Store, running_store

ROOT = Path(__file__).parent.parent
GATEWAY = [sys.executable, "-m", "invoke_gateway"]
FULL = Path("/dev/full")


def test_the_command_is_entered_where_its_process_is_prepared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"invoke-gateway": "invoke_gateway.entry:main"}


def test_nothing_heavy_is_imported_before_signals_are_handled() -> None:
    code = "import sys; before = set(sys.modules); import invoke_gateway.entry; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"typing", "click", "asyncio", "pydantic", "importlib.metadata"} & set(done.stdout.split())


# ---- standard streams -------------------------------------------------------------------------------------------

CLOSED = [
    pytest.param(closed, marks=() if count in (1, 3) else pytest.mark.soak)
    for count in (1, 2, 3)
    for closed in itertools.combinations((0, 1, 2), count)
]


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_streams_that_are_closed_at_the_start_are_no_matter(closed: tuple[int, ...], tmp_path: Path) -> None:
    """A socket that gets their number would be written to, and closed, as a stream."""
    shell = 'exec "$@" ' + " ".join(f"{file}{'<' if file == 0 else '>'}&-" for file in closed)
    with served(tmp_path, prefix=["sh", "-c", shell, "sh"]) as gateway:
        pid = gateway.process.pid
        if 2 not in closed:
            gateway.until_up()
        else:
            wait_until(lambda: count_listening(pid) == 3, "it listens", timeout=60)
        for file in closed:
            assert os.readlink(f"/proc/{pid}/fd/{file}") == os.devnull
        assert gateway.stop() == 0


def count_listening(pid: int) -> int:
    inodes = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and f"socket:[{row[9]}]" in inodes for row in rows)


# ---- signals of a gateway that serves ---------------------------------------------------------------------------

AS_FIRST = ["unshare", "-r", "--pid", "--fork", "--kill-child"]


def can_be_first() -> bool:
    try:
        return subprocess.run([*AS_FIRST, "true"], capture_output=True, timeout=30).returncode == 0
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
    with served(tmp_path) as gateway:
        wait_until(lambda: is_caught(gateway.process.pid), "its handlers are there", timeout=60)

        def pester() -> None:
            for number in (signal.SIGUSR1, signal.SIGHUP):
                gateway.process.send_signal(number)

        def is_up() -> bool:
            pester()
            return "backend demo" in gateway.log

        wait_until(is_up, "it serves", timeout=60)
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
    with served(tmp_path) as gateway:
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


# ---- outputs that cannot be written -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway"), "--faults") as gateway:
        yield gateway.until_up()


ASKS = ("--admin", "ADMIN")
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "version": ("--version",),
    "help of serve": ("serve", "--help"),
    "help of prove": ("prove", "--help"),
    "schema": ("schema",),
    "check": ("check", "FILE"),
    "limits": ("limits", "--once", *ASKS),
    "limits as JSON": ("limits", "--json", *ASKS),
    "in-flight": ("in-flight", *ASKS),
    "in-flight as JSON": ("in-flight", "--json", *ASKS),
    "queue": ("queue", *ASKS),
    "queue list": ("queue", "list", *ASKS),
    "fault": ("fault", "echo", "pass 1", *ASKS),
    "fault --list": ("fault", "--list", *ASKS),
    "hold": ("hold", "echo", "--seconds", "60", *ASKS),
    "hold --detach": ("hold", "echo", "--detach", "--seconds", "60", *ASKS),
}
"""Each command with an output. What is in capitals stands for where the gateway is."""

KINDS = {"help", "check", "limits", "queue list", "fault", "hold"}
"""One command of each way to write an output. `make soak` runs all others too: each is a process of its own."""

EACH = [pytest.param(name, marks=() if name in KINDS else pytest.mark.soak) for name in COMMANDS]


def resolve(name: str, gateway: Served) -> list[str]:
    known = {"ADMIN": f"{LOOPBACK}:{gateway.admin}", "FILE": str(gateway.file)}
    return [known.get(word, word) for word in COMMANDS[name]]


def run(arguments: Sequence[str], folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**bare_environment(folder), **more.pop("environment", {})}
    given = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
    return subprocess.run(
        [*GATEWAY, *arguments],
        text=True,
        errors="replace",
        timeout=100,
        cwd=folder,
        env=environment,
        check=False,
        **given,
    )


def held(gateway: Served) -> int:
    holds: list[Any] = fetch(gateway.admin, "/holds").json["holds"]
    return len(holds)


@pytest.mark.parametrize("name", EACH)
def test_an_output_without_room_is_one_line_and_a_status(name: str, running: Served, tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = run(resolve(name, running), tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "invoke-gateway: the output cannot be written: No space left on device\n"
    assert held(running) == 0


@pytest.mark.parametrize("name", EACH)
def test_a_reader_that_has_gone_is_no_error_message(name: str, running: Served, tmp_path: Path) -> None:
    out, into = os.pipe()
    os.close(out)
    try:
        done = run(resolve(name, running), tmp_path, stdout=into)
    finally:
        os.close(into)
    assert (done.returncode, done.stderr.strip()) == (1, "")
    assert held(running) == 0


@pytest.mark.parametrize("name", ["help", "schema", "limits", "fault", "hold --detach"])
def test_outputs_that_are_closed_are_no_matter(name: str, running: Served, tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *GATEWAY, *resolve(name, running)]
    done = subprocess.run(command, cwd=tmp_path, env=bare_environment(tmp_path), timeout=100, check=False)
    assert done.returncode == 0
    for hold in fetch(running.admin, "/holds").json["holds"]:
        run(["release", hold["id"], "--admin", f"{LOOPBACK}:{running.admin}"], tmp_path)


@pytest.mark.parametrize("arguments", [["check", "missing.yaml"], ["no-such-command"], ["serve", "--listen", "x"]])
def test_a_mistake_that_cannot_be_told_is_a_status(arguments: list[str], tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = run(arguments, tmp_path, stdout=full, stderr=full)
    assert done.returncode in (1, 2)


# ---- encodings --------------------------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
NARROW = [
    ASCII,
    *(pytest.param({"PYTHONIOENCODING": name}, marks=pytest.mark.soak) for name in ("ascii", "latin-1:strict")),
]
LOCALES = [
    {"LC_ALL": "C"},
    ASCII,
    pytest.param({"LC_ALL": "POSIX"}, marks=pytest.mark.soak),
    pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0"}, marks=pytest.mark.soak),
]


@pytest.mark.parametrize("environment", NARROW, ids=str)
@pytest.mark.parametrize("name", [one for one in EACH if one.values[0] not in ("hold", "hold --detach")])
def test_no_encoding_ends_a_command(name: str, environment: dict[str, str], running: Served, tmp_path: Path) -> None:
    done = run(resolve(name, running), tmp_path, stdout=subprocess.PIPE, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    if name == "schema":
        json.loads(done.stdout)


@pytest.mark.parametrize("environment", LOCALES, ids=str)
def test_paths_beyond_ascii_are_served_whatever_the_locale_is(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "Läden…"
    folder.mkdir()
    file = folder / "gäteway.yaml"
    values = {
        "listen": f"{LOOPBACK}:0",
        "admin": f"{LOOPBACK}:0",
        "backend": {"url": "demo"},
        "async": {"store": f"sqlite://{folder}/évents.db"},
    }
    file.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    checked = run(["check", str(file)], tmp_path, stdout=subprocess.PIPE, environment=environment)
    assert (checked.returncode, checked.stderr) == (0, "")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*GATEWAY, "serve", "--config", str(file)],
            stderr=output,
            env={**bare_environment(tmp_path), **environment},
            cwd=tmp_path,
        )
    try:
        wait_until(lambda: "backend demo" in log.read_text(errors="replace"), "it serves", timeout=60)
        assert (folder / "évents.db").exists()
        process.terminate()
        assert process.wait(60) == 0
        assert "Traceback" not in log.read_text(errors="replace")
    finally:
        process.kill()
        process.wait()


# ---- signals of other commands ----------------------------------------------------------------------------------


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
    arguments = resolve("hold", running)
    with subprocess.Popen([*GATEWAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as hold:
        wait_until(lambda: held(running) == 1, "it holds", timeout=60)
        for number in numbers:
            hold.send_signal(number)
        _, stderr = hold.communicate(timeout=60)
    assert held(running) == 0
    # Which comes first is the kernel's business; and Ctrl-C is the end of a hold that it holds, but 130 before that.
    assert hold.returncode in {128 + number for number in numbers} | ({0} if signal.SIGINT in numbers else set())
    assert stderr.strip() == b""


def test_a_hold_that_is_ended_while_it_is_taken_gives_its_slots_back(running: Served, tmp_path: Path) -> None:
    """The signal comes as soon as the command can take it, wherever that is."""
    for _ in range(5):
        with subprocess.Popen([*GATEWAY, *resolve("hold", running)], stdout=subprocess.DEVNULL, cwd=tmp_path) as hold:
            wait_until(lambda: is_caught(hold.pid), "its handlers are there", timeout=60)
            wait_until(lambda: held(running) or hold.poll() is not None, "it holds", timeout=60)
            hold.terminate()
            assert hold.wait(60) == 128 + signal.SIGTERM
        assert held(running) == 0


def test_what_nohup_has_set_stays_so(running: Served, tmp_path: Path) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *GATEWAY, *resolve("hold", running)]
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
