"""The access log follows its path: a file that is renamed, removed or emptied costs no line."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from invoke_gateway.telemetry.logs import access_file
from invoke_gateway.telemetry.logs.access_file import LogFile, find_obstacle, is_same_file
from invoke_gateway.telemetry.logs.line_writer import LineWriter
from tests.support.processes import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def opened(path: Path) -> LogFile:
    """It stays open, for the thread of its writer does not end."""
    return LogFile(str(path))


@pytest.fixture
def writer(opened: LogFile) -> LineWriter:
    return LineWriter(opened.file, lambda lines, why: b"%d dropped\n" % lines, log_file=opened)


def until(path: Path, text: bytes) -> None:
    wait_until(lambda: path.read_bytes() == text, f"{path} is {text!r}")


def test_lines_go_to_the_end_of_a_file_that_exists(path: Path) -> None:
    path.write_text("before\n")
    opened = LogFile(str(path))
    os.write(opened.file, b"after\n")
    os.close(opened.file)
    assert path.read_text() == "before\nafter\n"


def test_a_signal_after_a_rename_opens_a_new_file_at_once(
    path: Path, writer: LineWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where no line comes: the old file is given up, and its space with it."""
    caplog.set_level(logging.INFO)
    old = path.rename(path.with_suffix(".1"))
    writer.write(b"one\n")
    until(old, b"one\n")
    assert writer.reopen()
    until(path, b"")
    writer.write(b"two\n")
    until(path, b"two\n")
    assert old.read_bytes() == b"one\n"
    assert [record.getMessage() for record in caplog.records] == [f"the access log {path} was opened again"]


def test_without_a_signal_the_rename_is_seen_a_moment_later(
    path: Path, writer: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_file, "CHECK_SECONDS", 0.0)
    writer.reopen()  # the time of the next look was set before
    writer.write(b"one\n")
    until(path, b"one\n")
    path.unlink()

    def has_come() -> bool:
        writer.write(b"two\n")
        return path.exists() and b"two\n" in path.read_bytes()

    wait_until(has_come, "the line is in a new file")


def test_a_file_that_is_emptied_in_place_begins_anew(path: Path, writer: LineWriter) -> None:
    writer.write(b"one\n")
    until(path, b"one\n")
    os.truncate(path, 0)
    writer.write(b"two\n")
    until(path, b"two\n")


def test_a_path_that_cannot_be_opened_is_logged_once_and_tried_again(
    path: Path, writer: LineWriter, caplog: pytest.LogCaptureFixture
) -> None:
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    for line in (b"one\n", b"two\n"):
        writer.reopen()
        writer.write(line)
        wait_until(lambda line=line: line in old.read_bytes(), "the line is in the old file")  # type: ignore[misc]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"{path} cannot be opened again: Is a directory" in record.getMessage()
    path.rmdir()
    writer.reopen()
    writer.write(b"three\n")
    until(path, b"three\n")


def test_a_log_without_a_path_is_not_opened_again() -> None:
    with Path(os.devnull).open("wb") as null:
        assert not LineWriter(null.fileno(), lambda lines, why: b"").reopen()


def test_two_descriptors_of_one_pipe_are_one_file(tmp_path: Path) -> None:
    out, into = os.pipe()
    copy = os.dup(into)
    with (tmp_path / "other").open("wb") as other:
        assert is_same_file(into, copy)
        assert not is_same_file(into, other.fileno())
    assert not is_same_file(into, 10**6)
    for file in (out, into, copy):
        os.close(file)


def test_obstacles_are_found_without_making_a_file(tmp_path: Path) -> None:
    assert find_obstacle(str(tmp_path / "new.log")) is None
    assert list(tmp_path.iterdir()) == []
    assert find_obstacle(str(tmp_path)) == "it is a folder"
    missing = tmp_path / "missing"
    assert find_obstacle(str(missing / "a.log")) == f"the folder {missing} does not exist"
    (tmp_path / "file").touch()
    assert find_obstacle(str(tmp_path / "file")) is None
    assert find_obstacle(str(tmp_path / "file" / "a.log")) == "Not a directory"


def test_a_pipe_without_a_reader_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        LogFile(str(tmp_path / "pipe"))
