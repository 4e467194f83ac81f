"""Lines of several processes in one pipe stay whole, also those beyond PIPE_BUF, and no process can stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from invoke_gateway.telemetry.logs import write_turn
from invoke_gateway.telemetry.logs.line_writer import LineWriter
from invoke_gateway.telemetry.logs.write_turn import WriteTurn, make_lock_file, needs_turns
from tests.support.processes import wait_until

WRITES = """
import sys
from invoke_gateway.telemetry.logs.line_writer import LineWriter
from invoke_gateway.telemetry.logs.write_turn import WriteTurn
letter, file, lock_file = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
writer = LineWriter(file, lambda lines, why: b"", turn=WriteTurn(lock_file, 0, file))
for _ in range(60):
    writer.write(letter.encode() * 20_000 + b"\\n")
while writer._lines or writer._is_writing:
    writer.flush()
"""
HOLDS = """
import sys, time
from invoke_gateway.telemetry.logs.write_turn import WriteTurn
with WriteTurn(int(sys.argv[2]), 0, int(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def start(code: str, *arguments: str, files: tuple[int, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *arguments, *map(str, files)]
    return subprocess.Popen(command, pass_fds=files, stdout=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=60)


def test_long_lines_of_two_processes_do_not_mix_in_a_pipe_that_is_full() -> None:
    out, into = os.pipe()
    lock_file = make_lock_file()
    writers = [start(WRITES, letter, files=(into, lock_file)) for letter in "ab"]
    os.close(into)
    data = b""
    while piece := os.read(out, 3000):  # slowly: the pipe is full nearly all the time
        data += piece
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        end(writer)
    lines = data.splitlines()
    assert (len(lines), {len(line) for line in lines}) == (120, {20_000})
    assert set(lines) == {b"a" * 20_000, b"b" * 20_000}
    os.close(lock_file)
    os.close(out)


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_process_that_holds_the_turn_and_is_killed_or_stopped_stops_no_other(
    is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed one loses its turn. A stopped one is passed by after a moment, for the pipe has room."""
    monkeypatch.setattr(write_turn, "STOPPED_SECONDS", 600.0 if is_killed else 0.05)
    out, into = os.pipe()
    lock_file = make_lock_file()
    holder = start(HOLDS, files=(into, lock_file))
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.send_signal(signal.SIGKILL if is_killed else signal.SIGSTOP)
    writer = LineWriter(into, lambda lines, why: b"", turn=WriteTurn(lock_file, 0, into))
    writer.write(b"line\n")
    assert os.read(out, 100) == b"line\n"
    end(holder)


def test_a_holder_that_waits_for_the_reader_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_turn, "STOPPED_SECONDS", 0.0)
    out, into = os.pipe()
    os.set_blocking(into, False)
    size = os.write(into, b"x" * 1_000_000)  # full
    lock_file = make_lock_file()
    holder = start(HOLDS, files=(into, lock_file))
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    turn = WriteTurn(lock_file, 0, into)
    took: list[bool] = []
    waiting = threading.Thread(target=lambda: took.append(turn._wait()))
    waiting.start()
    waiting.join(0.1)
    assert took == []
    os.read(out, size)  # there is room, and the holder still does not write
    wait_until(lambda: took == [False], "the turn is passed by")
    end(holder)


def test_a_regular_file_needs_no_turns(tmp_path: Path) -> None:
    out, into = os.pipe()
    with (tmp_path / "log").open("wb") as file:
        assert (needs_turns(file.fileno()), needs_turns(into), needs_turns(10**6)) == (False, True, False)
    os.close(out)
    os.close(into)
