"""Lines of the log come whole, in order, and never at the cost of the event loop."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import resource
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from invoke_gateway.telemetry.logs import line_writer
from invoke_gateway.telemetry.logs.line_format import AccessFormatter
from invoke_gateway.telemetry.logs.line_writer import LineHandler, LineWriter
from tests.support.processes import wait_until

LINE = b"x" * 99 + b"\n"


def summarize(lines: int, why: str) -> bytes:
    return f"{lines} dropped: {why}\n".encode()


class Pipe:
    """A pipe of 64 KiB, and what has been read from it."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        self.read = b""

    def read_until(self, is_enough: bytes) -> list[bytes]:
        """Lines up to the one that holds `is_enough`."""

        def has_come() -> bool:
            while select.select([self.out], [], [], 0)[0]:
                piece = os.read(self.out, 1 << 16)
                if not piece:
                    break
                self.read += piece
            return is_enough in self.read

        wait_until(has_come, f"{is_enough!r} is read")
        return self.read.splitlines(keepends=True)

    def close(self) -> None:
        for file in (self.out, self.into):
            with contextlib.suppress(OSError):
                os.close(file)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_come_in_order(pipe: Pipe) -> None:
    writer = LineWriter(pipe.into, summarize)
    lines = [b"line %d\n" % number for number in range(2000)]
    for line in lines:
        writer.write(line)
    assert pipe.read_until(b"line 1999\n") == lines
    assert writer.dropped == 0


def test_a_reader_that_stands_still_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    """What did not fit is summed up where it is missing."""
    writer = LineWriter(pipe.into, summarize, most_bytes=10_000)
    for _ in range(2000):  # more than the pipe and the buffer hold
        writer.write(LINE)
    wait_until(lambda: writer.dropped > 0, "lines are dropped")
    dropped = writer.dropped
    first = pipe.read_until(b"dropped")
    writer.write(b"after\n")
    lines = pipe.read_until(b"after")
    assert lines[: len(first)] == first
    assert lines == [LINE] * (2000 - dropped) + [summarize(dropped, "the reader of the log did not read"), b"after\n"]


def test_the_summary_stands_where_lines_are_missing(pipe: Pipe) -> None:
    writer = LineWriter(pipe.into, summarize, most_bytes=10_000)
    while not writer.dropped:
        writer.write(LINE)
    pipe.read += os.read(pipe.out, 60_000)  # there is room again
    wait_until(lambda: writer._bytes < 9_000, "it is used")
    for _ in range(3):
        writer.write(b"later\n")
    lines = pipe.read_until(b"later\nlater\nlater\n")
    (at,) = [number for number, line in enumerate(lines) if b"dropped" in line]
    assert lines[at + 1 :] == [b"later\n"] * 3


def test_a_flush_does_not_wait_for_a_reader_that_stands_still(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "STILL_SECONDS", 0.05)
    writer = LineWriter(pipe.into, summarize)
    for _ in range(2000):
        writer.write(LINE)
    writer.flush()
    assert writer._lines, "else this has shown nothing"
    writer.write(b"last\n")
    pipe.read_until(b"last\n")  # or its thread would write to the file that gets this number next


def test_a_flush_waits_for_a_reader_that_reads(pipe: Pipe) -> None:
    writer = LineWriter(pipe.into, summarize)
    for _ in range(2000):
        writer.write(LINE)
    reader = threading.Thread(target=pipe.read_until, args=[b"last\n"])
    reader.start()
    writer.write(b"last\n")
    writer.flush()
    reader.join()
    assert pipe.read == LINE * 2000 + b"last\n"


def test_a_reader_that_is_gone_is_no_matter(pipe: Pipe) -> None:
    writer = LineWriter(pipe.into, summarize)
    os.close(pipe.out)
    for count in (1, 2, 3):
        writer.write(LINE)
        wait_until(lambda count=count: writer.dropped == count, "the line is counted")  # type: ignore[misc]
    assert not writer._lines
    writer.flush()


def test_a_file_that_cannot_grow_is_written_again_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line may be in it: the other half follows."""
    is_full = threading.Event()
    written: list[bytes] = []
    tries = 0

    def write(file: int, data: memoryview) -> int:
        nonlocal tries
        tries += 1
        if is_full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        if tries == 1:
            is_full.set()
            data = data[:4]
        written.append(bytes(data))
        return len(data)

    monkeypatch.setattr(line_writer, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr("invoke_gateway.telemetry.logs.line_writer.os.write", write)
    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno(), summarize, most_bytes=250)
        writer.write(LINE)
        wait_until(lambda: tries > 3, "it tries again")
        for _ in range(3):
            writer.write(LINE)
        is_full.clear()
        wait_until(lambda: b"".join(written).count(b"\n") == 3, "it is written")
        assert b"".join(written) == LINE * 2 + b"2 dropped: the log cannot be written: No space left on device\n"


def test_after_half_a_line_the_next_begins_on_a_line_of_its_own(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int | None] = [4, None]
    written: list[bytes] = []

    def write(file: int, data: memoryview) -> int:
        size = answers.pop(0) if answers else len(data)
        if size is None:
            raise OSError(errno.EIO, "Input/output error")
        written.append(bytes(data[:size]))
        return size

    monkeypatch.setattr("invoke_gateway.telemetry.logs.line_writer.os.write", write)
    writer = LineWriter(pipe.into, summarize)
    writer.write(b"first line\n")
    wait_until(lambda: writer.dropped == 1, "it is counted")
    writer.write(b"second\n")
    wait_until(lambda: len(written) == 3, "it is written")
    assert b"".join(written) == b"firs\nsecond\n1 dropped: the log cannot be written: Input/output error\n"


def test_a_pipe_that_somebody_has_made_non_blocking_gets_every_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.into, False)
    writer = LineWriter(pipe.into, summarize)
    for _ in range(2000):
        writer.write(LINE)
    writer.write(b"last\n")
    assert pipe.read_until(b"last\n") == [LINE] * 2000 + [b"last\n"]


def test_no_piece_of_a_pipe_is_longer_than_what_is_never_torn(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def write(file: int, data: memoryview) -> int:
        sizes.append(len(data))
        return len(data)

    monkeypatch.setattr("invoke_gateway.telemetry.logs.line_writer.os.write", write)
    writer = LineWriter(pipe.into, summarize)
    for _ in range(2000):
        writer.write(LINE)
    writer.write(b"y" * 5000 + b"\n")  # longer by itself
    writer.flush()
    assert sum(sizes) == 2000 * 100 + 5001
    assert sorted(sizes)[-1] == 5001
    assert sorted(sizes)[-2] <= select.PIPE_BUF


def test_a_file_at_its_largest_size_is_no_matter(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (tmp_path / "log").open("wb") as file:
            writer = LineWriter(file.fileno(), summarize)
            for _ in range(20):
                writer.write(LINE)
            wait_until(lambda: writer.dropped, "lines are dropped")
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "log").read_bytes() == LINE * 10


def test_the_thread_outlives_a_mistake(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LineWriter(pipe.into, summarize)
    real = writer._write

    def fail(chunk: bytes) -> None:
        monkeypatch.setattr(writer, "_write", real)
        raise ValueError("no")

    monkeypatch.setattr(writer, "_write", fail)
    writer.write(LINE)
    wait_until(lambda: writer.dropped, "it is counted")
    writer.write(b"after\n")
    assert pipe.read_until(b"after\n")[0] == b"after\n"


def test_a_record_is_a_line_whatever_it_is(pipe: Pipe) -> None:
    handler = LineHandler(logging.Formatter("%(levelname)s %(message)s"), "ascii", pipe.into)
    access = LineHandler(AccessFormatter("invoke_gateway.access"), "utf-8", writer=handler.writer)

    def record(message: object, *arguments: object, name: str = "gateway") -> logging.LogRecord:
        return logging.LogRecord(name, logging.INFO, "file.py", 7, message, arguments, None)  # type: ignore[arg-type]

    handler.handle(record("plain %d", 1))
    access.handle(record('{"bare": 1}', name="invoke_gateway.access"))
    handler.handle(record("café \udcff"))
    handler.handle(record("%d", "no number"))
    handler.flush()
    *lines, last = pipe.read_until(b"could not be made").__iter__()
    assert lines == [b"INFO plain 1\n", b'{"bare": 1}\n', b"INFO caf\\xe9 \\udcff\n"]
    assert re.match(rb"ERROR a line of file.py:7 could not be made: TypeError", last)
