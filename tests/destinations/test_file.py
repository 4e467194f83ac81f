"""A file of JSON lines as a target."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.destinations.targets import Destinations
from invoke_gateway.queue.base import DeliveryFailed
from invoke_gateway.queue.event import FunctionAnswer
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.support.events import ARN, ended
from tests.support.processes import wait_until


def content(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, text: str) -> None:
    file.write_text(text)


def read(file: Path) -> list[Any]:
    """What its lines say; each is whole."""
    *lines, last = content(file).split(b"\n")
    assert last == b""
    return [json.loads(line) for line in lines]


def rotate(file: Path) -> Path:
    """Give it another name, which is returned."""
    return file.rename(file.with_suffix(".1"))


def is_open(file: Path, times: int) -> bool:
    """Whether this process has it open so often."""
    names = (os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sum(name == str(file) for name in names) == times


async def test_a_dead_letter_is_a_line_with_the_body_as_it_came_and_the_attributes(
    targets: Destinations, lines: Path
) -> None:
    body = '{"id": 7.10,\n "s": "\\u0000ä\u2028"}'
    event = ended(body=body.encode())
    await targets("dead_letter_queue", f"file://{lines}", event)
    (told,) = read(lines)
    assert told == {
        "kind": "dead_letter_queue",
        "id": "0a5c5f5e-0000-4000-8000-000000000001-dead_letter_queue-60a2418221090",
        "function": ARN,
        "attributes": {"RequestID": event.request_id, "ErrorCode": 200, "ErrorMessage": "no such report"},
        "body": body,
    }


async def test_a_destination_is_given_its_record_on_one_line(targets: Destinations, lines: Path) -> None:
    event = ended(body=b'{"a":\r\n1.10}')
    await targets("on_failure", f"file://{lines}", event)
    (told,) = read(lines)
    assert b'"requestPayload":{"a":  1.10}' in content(lines)
    assert (told["kind"], told["record"]) == ("on_failure", json.loads(make_record(event)))


async def test_an_event_that_is_no_text_is_kept_all_the_same(targets: Destinations, lines: Path) -> None:
    await targets("dead_letter_queue", f"file://{lines}", ended(body=b"\xff\x00"))
    assert read(lines)[0]["body_base64"] == "/wA="


async def test_only_the_owner_may_read_a_file_that_the_gateway_made(targets: Destinations, lines: Path) -> None:
    await targets("on_failure", f"file://{lines}", ended())
    assert os.stat(lines).st_mode & 0o777 == 0o600


async def test_a_file_that_was_rotated_away_is_made_anew(targets: Destinations, lines: Path) -> None:
    await targets("on_failure", f"file://{lines}", ended())
    old = rotate(lines)
    await targets("on_failure", f"file://{lines}", ended())
    assert len(read(lines)) == len(read(old)) == 1


async def test_a_file_that_is_rotated_away_while_its_lock_is_awaited_gets_nothing_more(
    targets: Destinations, lines: Path
) -> None:
    write(lines, "")
    with lines.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        delivery = asyncio.create_task(targets("on_failure", f"file://{lines}", ended()))
        await asyncio.to_thread(wait_until, lambda: is_open(lines, times=2), "the gateway waits for the lock")
        old = rotate(lines)
    await delivery
    assert len(read(lines)) == 1
    assert content(old) == b""


async def test_two_gateways_write_whole_lines_to_one_file(
    make_targets: Callable[..., Destinations], lines: Path
) -> None:
    one, other = make_targets(), make_targets()
    large = ended(body=b'"' + b"x" * 300_000 + b'"')
    await asyncio.gather(*(each("on_failure", f"file://{lines}", large) for each in (one, other) * 20))
    assert [len(each["record"]["requestPayload"]) for each in read(lines)] == [300_000] * 40


async def test_a_line_that_somebody_died_in_does_not_swallow_the_next(targets: Destinations, lines: Path) -> None:
    write(lines, '{"kind":"on_fai')
    await targets("on_failure", f"file://{lines}", ended())
    torn, whole = content(lines).splitlines()
    assert torn == b'{"kind":"on_fai'
    assert json.loads(whole)["kind"] == "on_failure"


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may become larger, as if the disk were full: a write is cut short, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.skipif(sys.platform != "linux", reason="the size limit of files is tested as Linux has it")
async def test_of_a_line_that_does_not_fit_nothing_is_kept(targets: Destinations, lines: Path) -> None:
    await targets("on_failure", f"file://{lines}", ended())
    before = content(lines)
    with at_most(len(before) + 100), pytest.raises(DeliveryFailed, match="make room on its disk"):
        await targets(
            "on_failure", f"file://{lines}", ended("Success", FunctionAnswer(200, b'"' + b"x" * 10_000 + b'"'))
        )
    assert content(lines) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/events.jsonl", f"{os.strerror(errno.ENOENT)}; make its folder"),
        ("plain/events.jsonl", f"{os.strerror(errno.ENOTDIR)}; make its folder"),
        ("folder", f"{os.strerror(errno.EISDIR)}; check the file"),
        ("pipe", "it is no plain file"),
    ],
)
async def test_what_cannot_be_written_is_said_with_its_cure(
    targets: Destinations, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DeliveryFailed, match=message) as raised:
        await targets("on_failure", f"file://{tmp_path / name}", ended())
    assert str(raised.value).startswith(f"file://{tmp_path / name}: ")


async def test_a_lock_that_is_never_given_back_fails_in_time(
    make_targets: Callable[..., Destinations], lines: Path
) -> None:
    with lines.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DeliveryFailed, match="another process has its lock"):
            await make_targets(timeout_seconds=1)("on_failure", f"file://{lines}", ended())
    assert content(lines) == b""
