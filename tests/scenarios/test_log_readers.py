"""A gateway whose log nobody reads, or nobody can: its calls go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.served import Served, served
from tests.support.sockets import Wire, fetch, invoke
from tests.support.stores import Store, running_store

LONG = "/" + "p" * 12_000
"""A path of which a few hundred lines of the access log fill a pipe and the buffer."""


class Reader:
    """Reads a pipe when it is told to. What it has read is in `lines`."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.data = b""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while piece := os.read(self._file, 1 << 16):
            self.data += piece

    def start(self) -> None:
        self._thread.start()

    def lines(self) -> list[str]:
        return self.data.decode().splitlines()

    def until(self, pattern: str) -> re.Match[str]:
        wait_until(lambda: re.search(pattern, self.data.decode(errors="replace")), f"{pattern!r} is read", timeout=30)
        found = re.search(pattern, self.data.decode())
        assert found is not None
        return found

    def join(self) -> None:
        self._thread.join(30)


def read_addresses(file: int) -> tuple[int, int, bytes]:
    """The ports of the Invoke API and of the admin, out of a log of which no more is read than that."""
    data = b""
    while not (found := re.search(rb"admin on http://127\.0\.0\.1:(\d+)", data)):
        piece = os.read(file, 256)
        assert piece, data
        data += piece
    listen = re.search(rb"Invoke API on http://127\.0\.0\.1:(\d+)", data)
    assert listen is not None
    return int(listen[1]), int(found[1]), data


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[tuple[Served, int]]:
    """A gateway with an access log, and the end of the pipe in which that goes."""
    out, into = os.pipe()
    with served(tmp_path, "--access-log", "-", streams={"stdout": into, "stderr": into}) as gateway:
        os.close(into)
        gateway.port, gateway.admin, _ = read_addresses(out)
        yield gateway, out
    os.close(out)


def test_a_full_pipe_stops_no_call(unread: tuple[Served, int]) -> None:
    """Nor `/healthz`. What did not fit is one line, and a metric; what did fit comes whole and in order."""
    gateway, out = unread
    sent = 0
    with Wire(gateway.port) as wire:
        while not gateway.metric("log_lines_dropped_total"):
            for _ in range(100):
                path = f"{LONG}/{sent}"
                assert wire.send(invoke("", path=path)).answer().status == 404
                sent += 1
            assert sent < 5000
        assert fetch(gateway.admin, "/healthz").status == 200
        dropped = int(gateway.metric("log_lines_dropped_total"))
        reader = Reader(out)
        reader.start()
        reader.until(f"WARNING {dropped} log lines were dropped because the reader of the log did not read")
        assert wire.send(invoke("echo")).answer().status == 200
        reader.until('"function":"echo"')
    assert gateway.stop() == 0
    reader.join()
    lines = reader.lines()
    numbers = [int(json.loads(line)["path"].rpartition("/")[2]) for line in lines if "/ppp" in line]
    assert numbers == list(range(sent - dropped))
    assert lines[-1].endswith("INFO stopped")


def test_a_full_pipe_does_not_hold_up_the_end(unread: tuple[Served, int]) -> None:
    gateway, _ = unread
    with Wire(gateway.port) as wire:
        for _ in range(30):
            wire.send(invoke("", path=LONG)).answer()
    assert gateway.stop() == 0


def test_a_reader_that_is_gone_ends_nothing(unread: tuple[Served, int]) -> None:
    gateway, out = unread
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, out)
    os.close(null)
    with Wire(gateway.port) as wire:
        for _ in range(3):
            assert wire.send(invoke("echo")).answer().status == 200
    wait_until(lambda: gateway.metric("log_lines_dropped_total") >= 3, "the lines are counted")
    assert gateway.stop() == 0


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    """/dev/full answers as a disk without room does. Its ports are found by the admin listener's own."""
    with Path("/dev/full").open("wb") as full, served(tmp_path, streams={"stderr": full}) as gateway:
        ports = wait_for_ports(gateway.process.pid)
        assert [port for port in ports if fetch(port, "/healthz").status == 200]
        assert gateway.stop() == 0


def wait_for_ports(pid: int) -> list[int]:
    """Loopback ports on which a process listens, once there are the three of a gateway with the demo backend."""

    def read() -> list[int]:
        inodes = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        return [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]

    wait_until(lambda: len(read()) == 3, "it listens", timeout=30)
    return read()


def test_no_line_is_lost_at_the_end(tmp_path: Path) -> None:
    """The last lines are written before the process is gone, also those of the last call."""
    with served(tmp_path, "--access-log", "/dev/stderr") as gateway:
        gateway.until_up()
        with Wire(gateway.port) as wire:
            for number in range(300):
                wire.send(invoke("", path=f"/{number}")).answer()
        assert gateway.stop() == 0
        lines = [line for line in gateway.log.splitlines() if line.startswith("{")]
        assert [json.loads(line)["path"] for line in lines] == [f"/{number}" for number in range(300)]
        assert gateway.log.endswith("INFO stopped\n")


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


def test_workers_do_not_mix_their_lines(tmp_path: Path, store: Store) -> None:
    """They share the pipe, which is full at times."""
    out, into = os.pipe()
    flags = ("--access-log", "-", "--workers", "2", "--counters", store.url, "--shared-lease-seconds", "1")
    with served(tmp_path, *flags, streams={"stdout": into, "stderr": into}) as gateway:
        os.close(into)
        gateway.port, gateway.admin, _ = read_addresses(out)
        for _ in range(8):  # connections, which the kernel spreads over both
            with Wire(gateway.port) as wire:
                for number in range(60):
                    wire.send(invoke("", path=f"/{'q' * 3000}/{number}")).answer()
        assert fetch(gateway.admin, "/healthz").status == 200
        reader = Reader(out)
        reader.start()
        wait_until(lambda: reader.data.count(b'"path"') == 480, "all lines are read", timeout=30)
        assert gateway.metric("log_lines_dropped_total") == 0
        assert gateway.stop() == 0
        reader.join()
    os.close(out)
    for line in reader.lines()[1:]:  # the first is the end of one that was read above
        if '"path"' in line:
            parsed = json.loads(line)
            assert (parsed["status"], parsed["worker"] in (1, 2)) == (404, True)
        else:
            assert re.match(r"20\d\d-", line), line[:200]


UNHANDLED = (
    "import asyncio, logging, threading, warnings\n"
    "from invoke_gateway.telemetry.logs.log import LogOptions, set_up_logging\n"
    "set_up_logging(LogOptions({format!r}, worker=1))\n"
    "warnings.warn('a warning')\n"
    "class Bad:\n"
    "    def __del__(self): raise ValueError('in del')\n"
    "Bad()\n"
    "thread = threading.Thread(target=lambda: 1 / 0, name='short'); thread.start(); thread.join()\n"
    "async def callback(): asyncio.get_running_loop().call_soon(lambda: [][1]); await asyncio.sleep(0)\n"
    "asyncio.run(callback())\n"
    "logging.getLogger('uvicorn.error').critical('of uvicorn \\udc80')\n"
    "logging.getLogger('invoke_gateway').error('%d', 'no number')\n"
    "raise KeyError('at last')\n"
)
ENDS = [
    "UserWarning: a warning",
    "",
    "the thread short has failed",
    "Exception in callback",
    "of uvicorn \\",
    "could not be made",
    "the process ends with an unhandled error",
]


def log_unhandled(format: str) -> str:
    code = UNHANDLED.format(format=format)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_warnings_and_errors_that_nothing_handles_are_lines_of_the_log() -> None:
    text = log_unhandled("text")
    heads = [line for line in text.splitlines() if re.match(r"20\d\d-", line)]
    assert len(heads) == len(ENDS)
    assert all(" worker 1: " in head and end in head for head, end in zip(heads, ENDS, strict=True)), heads
    assert all(line.startswith("    ") for line in text.splitlines() if line not in heads)
    for error in ("ValueError: in del", "ZeroDivisionError", "IndexError", "KeyError: 'at last'"):
        assert f"\n    {error}" in text


def test_warnings_and_errors_that_nothing_handles_are_objects_of_one_line() -> None:
    lines = [json.loads(line) for line in log_unhandled("json").splitlines()]
    assert len(lines) == len(ENDS)
    assert all(line["worker"] == 1 and end in line["message"] for line, end in zip(lines, ENDS, strict=True)), lines
    assert [line["logger"] for line in lines] == [
        *("py.warnings", "invoke_gateway", "invoke_gateway", "asyncio", "uvicorn.error", "invoke_gateway"),
        "invoke_gateway",
    ]
    errors = [line["exception"].splitlines()[-1] for line in lines if "exception" in line]
    assert [error.partition(":")[0] for error in errors] == [
        "ValueError",
        "ZeroDivisionError",
        "IndexError",
        "KeyError",
    ]


def test_a_signal_while_the_reader_stands_still_ends_it_all_the_same(unread: tuple[Served, int]) -> None:
    gateway, _ = unread
    with Wire(gateway.port) as wire:
        for _ in range(30):
            wire.send(invoke("", path=LONG)).answer()
    assert gateway.stop(signal.SIGINT) == 0
