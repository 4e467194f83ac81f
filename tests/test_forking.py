"""Tests of the support that forks the gateway's commands: a forked program is as one that was executed."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking
from tests.support.forking import LOCALE, READ_AT_START, SERVER
from tests.support.processes import LOOPBACK, RunningProcess, bare_environment, free_port, listens, running, wait_until
from tests.support.start_of_worker import NUMBER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux only")

ROOT = Path(__file__).parents[1]
GATEWAY = [sys.executable, "-m", "invoke_gateway"]
SCRIPT = str(Path(sys.executable).with_name("invoke-gateway"))
AWS = str(Path(sys.executable).with_name("aws"))
SURROUNDINGS = [sys.executable, "-m", "tests.support.surroundings", "ä", "--flag", ""]
PR_GET_CHILD_SUBREAPER = 37


def is_forked(pid: int) -> bool:
    return SERVER.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


def start(command: list[str], folder: Path, **more: Any) -> tuple[int, str, str, bool]:
    """Returns exit status, output, errors, and whether the program was forked."""
    environment = bare_environment(folder)
    pipe = subprocess.PIPE
    with forking.Popen(command, env=environment, cwd=folder, stdout=pipe, stderr=pipe, text=True, **more) as process:
        was_forked = is_forked(process.pid)
        output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors, was_forked


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"start_new_session": True},
        {"env": {**LOCALE, "PATH": "/usr/bin", "TZ": "Asia/Tokyo", "NAME": "\udcff ä"}},
        {"env": None},
        {"stdin": subprocess.DEVNULL},
        {"stderr": subprocess.STDOUT},
    ],
    ids=lambda more: ",".join(more) or "nothing more",
)
def test_a_forked_program_finds_what_an_executed_one_finds(more: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    given = {"cwd": tmp_path, "env": LOCALE, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **more}
    found = []
    for popen in (subprocess.Popen, forking.Popen):
        with popen(SURROUNDINGS, **given) as process:
            output, _ = process.communicate(b"one\r\ntwo" if process.stdin else None, timeout=100)
        assert process.returncode == 0
        found.append(json.loads(output))
    executed, forked = found
    for name in ("COLUMNS", "LINES"):  # readline, which pytest loads, may set them for the C library alone
        executed["environment"].pop(name, None)
        forked["environment"].pop(name, None)
    for name, value in executed.items():
        assert forked[name] == value
    assert forked["parent"] == os.getpid()


def test_a_forked_worker_finds_what_an_executed_one_finds(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    command = [sys.executable, "-m", "tests.support.start_of_worker", "serve", "--workers"]
    found = []
    for popen in (subprocess.Popen, forking.Popen):
        with popen(command, cwd=tmp_path, env=LOCALE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            output, _ = process.communicate(b"not for workers", timeout=100)
        assert process.returncode == 0
        worker, supervisor = map(json.loads, output.splitlines())
        assert worker["parent"] == supervisor["supervisor"] == process.pid
        assert supervisor["status"] == 3
        assert worker["files"] == [0, 1, 2, NUMBER]
        del worker["parent"], worker["flags"]  # of `-P`, a fork has the path only
        found.append((supervisor["kind"], worker))
    (executed, of_executed), (forked, of_forked) = found
    assert (executed, forked) == ("Process", "ForkedWorker")
    assert of_forked == of_executed


def test_a_gateway_forks_its_workers(tmp_path: Path) -> None:
    port = free_port()
    command = [*GATEWAY, "serve", "--backend", "demo", "--listen", f"{LOOPBACK}:{port}", "--admin", f"{LOOPBACK}:0"]
    with running([*command, "--workers", "2"], tmp_path / "log", bare_environment(tmp_path), tmp_path) as process:
        process.wait_until(lambda: listens(port), "it listens")
        forked = [child for child in list_children(process._process.pid) if is_forked(child)]
        assert len([child for child in forked if os.getsid(child) == child]) == 2
        assert len(forked) == 3, "the server of workers besides"


def test_a_gateway_without_workers_has_no_server_for_them(gateway: RunningProcess) -> None:
    assert list_children(gateway._process.pid) == []


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_has_the_umask_and_the_limits_of_this_moment(tmp_path: Path) -> None:
    before, umask = resource.getrlimit(resource.RLIMIT_NOFILE), os.umask(0o077)
    one_less = before[0] - 1  # a lower limit may be below what earlier tests of this process left open
    resource.setrlimit(resource.RLIMIT_NOFILE, (one_less, before[1]))
    try:
        done = forking.run(
            SURROUNDINGS, cwd=ROOT, env=LOCALE, stdin=subprocess.DEVNULL, capture_output=True, timeout=100
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.umask(umask)
    found = json.loads(done.stdout)
    assert found["umask"] == 0o077
    assert [one_less, before[1]] in found["limits"]


@pytest.mark.parametrize("command", [GATEWAY, [SCRIPT]], ids=["module", "script"])
@pytest.mark.parametrize(
    ("arguments", "status"), [(["--version"], 0), (["nonsense"], 2), (["serve", "--backend", "nothing"], 2)]
)
def test_a_command_prints_and_returns_the_same(
    command: list[str], arguments: list[str], status: int, tmp_path: Path
) -> None:
    *forked, was_forked = start([*command, *arguments], tmp_path)
    assert was_forked
    done = subprocess.run(
        [*command, *arguments], env=bare_environment(tmp_path), capture_output=True, text=True, timeout=100
    )
    assert forked == [status, done.stdout, done.stderr]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["lambda", "invoke", "help", "--no-such"], 2),
        (["lambda", "get-function", "--function-name", "echo", "--endpoint-url", "http://127.0.0.1:1"], 255),
        (["lambda", "delete-function", "--generate-cli-skeleton"], 0),
    ],
    ids=lambda value: str(value),
)
def test_the_aws_cli_prints_and_returns_the_same(arguments: list[str], status: int, tmp_path: Path) -> None:
    region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    environment = bare_environment(tmp_path) | region | {"AWS_MAX_ATTEMPTS": "1"}
    found = []
    for popen in (subprocess.Popen, forking.Popen):
        pipe = subprocess.PIPE
        with popen([AWS, *arguments], env=environment, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
            is_one = is_forked(process.pid)
            found.append((*process.communicate(timeout=100), process.returncode))
        assert is_one == (popen is forking.Popen)
    assert found[0] == found[1]
    assert found[1][2] == status


def test_a_program_that_fails_prints_its_traceback(tmp_path: Path) -> None:
    status, _, errors, was_forked = start([sys.executable, "-m", "tests.no_such_module"], tmp_path)
    assert (status, was_forked) == (1, True)
    assert "No module named" in errors


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    port = free_port()
    command = [*GATEWAY, "serve", "--backend", "demo", "--listen", f"{LOOPBACK}:{port}", "--admin", f"{LOOPBACK}:0"]
    with running(command, tmp_path / "log", bare_environment(tmp_path), tmp_path) as process:
        process.wait_until(lambda: listens(port), "it listens")
        yield process


def state_of(pid: int) -> str:
    return re.search(r"^State:\s*(\S)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]  # type: ignore[index]


def test_signals_reach_a_forked_gateway(gateway: RunningProcess) -> None:
    process = gateway._process
    assert is_forked(process.pid)
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) == "T", "it has stopped")
    process.send_signal(signal.SIGCONT)
    process.terminate()
    assert process.wait(60) == 0


def test_a_killed_gateway_has_the_status_of_its_signal(gateway: RunningProcess) -> None:
    gateway.kill()
    assert gateway._process.wait(60) == -signal.SIGKILL
    assert not gateway.is_running


def test_its_time_counts_as_that_of_a_child(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    start([*GATEWAY, "schema"], tmp_path)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before


def test_programs_are_started_by_several_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda number: start([*GATEWAY, "nonsense" + "x" * number], tmp_path), range(16)))
    assert [result[0] for result in done] == [2] * 16
    assert all("nonsense" + "x" * number in result[2] for number, result in enumerate(done))


def test_programs_draw_different_random_numbers(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "draw.py").write_text("import random, tempfile, uuid\nprint(random.random(), uuid.uuid4())\n")
    command = [sys.executable, "-m", "tests.draw"]
    drawn = [start(command, tmp_path) for _ in range(2)]
    numbers = [output.split() for _, output, _, _ in drawn]
    assert len({*numbers[0], *numbers[1]}) == 4


def test_orphans_of_others_are_not_adopted(tmp_path: Path) -> None:
    start([*GATEWAY, "--version"], tmp_path)
    adopts = ctypes.c_int(-1)
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    assert adopts.value == 0


NAMES_READ = """
import os, sys
class Recorded(type(os.environ)):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)
    def __contains__(self, name):
        read.add(name)
        return super().__contains__(name)
read, had = set(), os.environ
kept = had._data, had.encodekey, had.decodekey, had.encodevalue, had.decodevalue
os.environ = Recorded(*kept)
import fork_server
fork_server.LOADERS[sys.argv[1]]()
print(*read - {"PATH", "HOME"})
"""


@pytest.mark.parametrize(("loaded", "name"), [("gateway", "PROMETHEUS_MULTIPROC_DIR"), ("aws", "AWS_DATA_PATH")])
def test_what_the_modules_read_when_they_are_imported_is_the_same_in_their_server(loaded: str, name: str) -> None:
    """`wsgiref` reads PATH and `sysconfig` HOME, for what the gateway has no use for."""
    environment = {**LOCALE, "PYTHONPATH": str(SERVER.parent)}
    names = subprocess.run(
        [sys.executable, "-c", NAMES_READ, loaded],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout.split()
    assert name in names
    assert [read for read in names if not read.startswith(READ_AT_START)] == []


SERVED = """
import os, sys
from tests.support import forking
with forking.Popen([sys.executable, "-m", "invoke_gateway", "--version"]) as process:
    process.wait()
(server,) = forking.servers._running.values()
print(server._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_server_ends_with_the_tests_however_these_end(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SERVED], cwd=ROOT, capture_output=True, text=True, timeout=100)
    version, pid = done.stdout.split("\n")[:2]
    assert version.startswith("invoke-gateway")
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or state_of(int(pid)) == "Z", "the server has ended")


VERSION = [*GATEWAY, "--version"]


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ([sys.executable, "-c", "import time; time.sleep(0.5)"], {}),
        ([sys.executable, "-X", "importtime", "-m", "invoke_gateway", "schema"], {}),
        ([sys.executable, "-m", "timeit", "-n1", "-r1", "pass"], {}),
        (VERSION, {"env": {**LOCALE, "PYTHONHASHSEED": "1"}}),
        (VERSION, {"env": {"LC_ALL": "C"}}),
        (VERSION, {"env": {}}),
        (VERSION, {"pass_fds": (2,)}),
        (VERSION, {"close_fds": False}),
        (VERSION, {"preexec_fn": os.getpid}),
        (VERSION, {"process_group": 0}),
        (VERSION, {"umask": 0o022}),
        (" ".join(VERSION), {"shell": True}),
    ],
    ids=str,
)
def test_what_a_fork_would_start_in_another_way_is_executed(
    command: Any, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking.ForkServer, "fork", fail)
    given = {"env": LOCALE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    with forking.Popen(command, **given) as process:
        process.communicate(timeout=100)
    assert process.returncode == 0


def fail(*_: Any, **__: Any) -> None:
    raise AssertionError("it was forked")
