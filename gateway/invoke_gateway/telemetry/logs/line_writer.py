"""Writes log lines from a thread of its own, so that a stalled reader of the log stops no call.

A line costs the event loop an append. The thread is woken once for many lines: it writes them all, then rests, because
each run has to win the interpreter's lock from a busy event loop. Lines beyond the full buffer are dropped and counted;
one line in their place sums them up.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic

from .access_file import LogFile

MOST_BYTES = 8 * 1024 * 1024  # in memory; some 30,000 lines
REST_SECONDS = 0.02
RETRY_SECONDS = 1.0  # before another try to write to a full disk
STILL_SECONDS = 2.0  # the longest wait at the end for a stalled reader
FLUSH_SECONDS = 5.0  # the longest wait at the end for a slow reader

_FULL = (errno.ENOSPC, errno.EDQUOT)  # space may become free, and half a line may be written already
_FILE_BYTES = 64 * 1024
_STALLED = "the reader of the log did not read"


class LineWriter:
    """Writes lines to a file from a thread.

    summarize: makes the line in place of dropped ones, from their number and the reason
    log_file: opens the file again after a rotation; None: the file stays as it is
    turn: is held while a piece is written, so that other processes write before or after it
    """

    def __init__(
        self,
        file: int,
        summarize: Callable[[int, str], bytes],
        *,
        most_bytes: int = MOST_BYTES,
        log_file: LogFile | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self.dropped = 0
        self.file = file
        self.log_file = log_file
        self._turn = turn or nullcontext()
        self._summarize = summarize
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._missing = 0  # dropped, and not yet summed up
        self._why = _STALLED
        self._is_torn = False  # the last line that was written lacks its end
        self._is_failing = False  # the last write did: the summary waits for one that does not
        self._is_writing = False
        self._progress = 0
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._at_once = _bytes_at_once(file)
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: bytes) -> None:
        """Appends a line, which ends in a line feed. Never waits and never fails."""
        with self._lock:
            if self._bytes + len(line) > self._most_bytes:
                self.dropped += 1
                self._missing += 1
            else:
                if self._missing and not self._is_failing:
                    self._sum_up()
                self._lines.append(line)
                self._bytes += len(line)
        if not self._wake.is_set():
            self._wake.set()

    def reopen(self) -> bool:
        """Opens the file again soon if its path names another one. Returns False for a log without a path."""
        if self.log_file is None:
            return False
        self.log_file.check_soon()
        self._wake.set()
        return True

    def flush(self) -> None:
        """Waits until all lines are written, or until the reader stalls."""
        ends_at = monotonic() + FLUSH_SECONDS
        progress, still_at = self._progress, monotonic() + STILL_SECONDS
        self._hurry.set()
        self._wake.set()
        while (self._lines or self._is_writing or self._wake.is_set()) and monotonic() < min(ends_at, still_at):
            threading.Event().wait(0.002)
            if self._progress != progress:
                progress, still_at = self._progress, monotonic() + STILL_SECONDS
        self._hurry.clear()

    def _sum_up(self) -> None:
        """Appends the summary of dropped lines. The lock is held."""
        line = self._summarize(self._missing, self._why)
        self._missing, self._why = 0, _STALLED
        self._lines.append(line)
        self._bytes += len(line)

    # In the thread.

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._is_writing = True
            self._wake.clear()
            try:
                self._follow_rotation()
                while chunk := self._next_chunk():
                    with self._turn:
                        self._write(chunk)
                    self._follow_rotation()
            except Exception as error:  # any error: without this thread there is no log
                self._record_dropped(1, f"writing them failed: {error!r}")
            self._is_writing = False
            self._hurry.wait(REST_SECONDS)

    def _follow_rotation(self) -> None:
        if self.log_file is not None:
            self.log_file.current()

    def _next_chunk(self) -> bytes:
        """Returns whole lines, as many as fit in one piece; b"" when there are none."""
        with self._lock:
            if not self._lines and self._missing and not self._is_failing:
                self._sum_up()
            lines: list[bytes] = []
            left = self._at_once
            while self._lines and (not lines or len(self._lines[0]) <= left):
                line = self._lines.popleft()
                left -= len(line)
                lines.append(line)
            return b"".join(lines)

    def _write(self, chunk: bytes) -> None:
        left = memoryview(b"\n" + chunk if self._is_torn else chunk)
        whole = len(left)
        try:
            while left:
                try:
                    written = os.write(self.file, left)
                    left = left[written:]
                    self._is_torn = bool(left)
                    self._is_failing = False
                    self._progress += 1
                except BlockingIOError:  # another process has made the file non-blocking
                    select.select([], [self.file], [], RETRY_SECONDS)
                except OSError as error:
                    if error.errno not in _FULL or self._hurry.is_set():
                        lines = bytes(left).count(b"\n") - (len(left) == whole > len(chunk))
                        self._record_dropped(lines, f"the log cannot be written: {error.strerror}")
                        return
                    self._why = f"the log cannot be written: {error.strerror}"
                    self._hurry.wait(RETRY_SECONDS)
        finally:
            with self._lock:
                self._bytes -= len(chunk)

    def _record_dropped(self, lines: int, why: str) -> None:
        with self._lock:
            self.dropped += lines
            self._missing += lines
            self._why = why
            self._is_failing = True

    def __repr__(self) -> str:
        return f"<LineWriter file={self.file} waiting={len(self._lines)} dropped={self.dropped}>"


def _bytes_at_once(file: int) -> int:
    """Returns the size up to which a write to a shared pipe is never mixed with other processes' lines."""
    try:
        return _FILE_BYTES if stat.S_ISREG(os.fstat(file).st_mode) else select.PIPE_BUF
    except OSError:
        return select.PIPE_BUF


class LineHandler(logging.Handler):
    """Formats records for a writer thread: a new one, or that of another handler for the same file."""

    def __init__(
        self,
        formatter: logging.Formatter,
        encoding: str,
        file: int | None = None,
        *,
        writer: LineWriter | None = None,
        log_file: LogFile | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._encoding = encoding
        if writer is None:
            assert file is not None, "a new writer needs a file"
            writer = LineWriter(file, self._summarize, log_file=log_file, turn=turn)
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._encode(record)
        except Exception as error:  # arguments that do not fit their message still give a line
            text = f"a line of {record.pathname}:{record.lineno} could not be made: {error!r}"
            line = self._encode(_make_record(logging.ERROR, text))
        self.writer.write(line)

    def flush(self) -> None:
        """Flushes at the end of the process, for `logging.shutdown`."""
        self.writer.flush()

    def _encode(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")

    def _summarize(self, lines: int, why: str) -> bytes:
        what = "1 log line was" if lines == 1 else f"{lines} log lines were"
        record = _make_record(logging.WARNING, f"{what} dropped because {why}")
        record.fields = {"kind": "lines_dropped", "dropped": lines}
        return self._encode(record)


def _make_record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("invoke_gateway", level, "", 0, text, None, None)
