"""The control state in a file: durable, whole at any time, owned by one process, and never silently empty."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from invoke_gateway.control.base import CannotOpenControl, ControlStoreError
from invoke_gateway.control.file_store import FileControlStore, encode_state, read_state
from invoke_gateway.policy.control.errors import QUALIFIED, ControlRefusal
from invoke_gateway.policy.control.state import (
    ControlState,
    EventInvokeConfig,
    FunctionControl,
    ProvisionedConfig,
    ScalingConfig,
    with_reserved,
)

EVERYTHING = ControlState(
    7,
    {
        "000000000000": {
            "f": FunctionControl(
                0,
                "Allow",
                {"prod": ProvisionedConfig(3, 1.5, "1")},
                {"$LATEST": EventInvokeConfig(2.5, 0, 60, "arn:a", None)},
                {"2": ScalingConfig(0, None)},
            )
        }
    },
)


def reserve(slots: int) -> object:
    return lambda state: state.with_function("a", "f", with_reserved(state.function("a", "f"), slots))


async def write(path: Path, *slots: int) -> ControlState:
    store = FileControlStore(path)
    await store.start()
    for each in slots:
        await store.change(reserve(each))
    await store.close()
    return store.state


async def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "control.json"
    assert read_state(path) == ControlState()
    assert await write(path, 1, 2) == read_state(path)
    assert path.stat().st_mode & 0o077 == 0
    assert read_state(path).version == 2
    path.write_bytes(encode_state(EVERYTHING))
    assert read_state(path) == EVERYTHING
    assert (path.parent.stat().st_mode & 0o777) == 0o700


async def test_a_change_is_in_force_before_it_is_answered_and_one_at_a_time(tmp_path: Path) -> None:
    store, seen = FileControlStore(tmp_path / "control.json"), []

    async def put_in_force(state: ControlState) -> None:
        await asyncio.sleep(0)
        seen.append((state.version, read_state(store.path).version))  # durable before

    store.put_in_force = put_in_force
    await store.start()
    results = await asyncio.gather(*(store.change(reserve(slots)) for slots in range(5)))
    assert seen == [(version, version) for version in range(1, 6)]
    assert [result.version for result in results if isinstance(result, ControlState)] == [1, 2, 3, 4, 5]
    await store.close()


async def test_a_refusal_and_a_change_of_nothing_write_nothing(tmp_path: Path) -> None:
    store = FileControlStore(tmp_path / "control.json")
    await store.start()
    refusal = ControlRefusal(QUALIFIED)
    assert await store.change(lambda state: refusal) is refusal
    assert await store.change(lambda state: state) == ControlState()
    assert not store.path.exists()
    await store.close()


async def test_a_cancelled_request_leaves_memory_and_file_alike(tmp_path: Path) -> None:
    store = FileControlStore(tmp_path / "control.json")
    await store.start()
    change = asyncio.create_task(store.change(reserve(3)))
    await asyncio.sleep(0)
    change.cancel()
    await asyncio.gather(change, return_exceptions=True)
    await store.close()
    assert store.state == read_state(store.path)


async def test_a_file_that_is_cut_or_changed_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    whole = encode_state(EVERYTHING)
    for size in range(len(whole) - 1):  # the newest byte is the line's end, which is no part of the document
        path.write_bytes(whole[:size])
        with pytest.raises(CannotOpenControl, match=r"control\.json (is empty|is damaged)"):
            read_state(path)
    rng = random.Random(1)
    for _ in range(500):
        at = rng.randrange(len(whole) - 1)
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(CannotOpenControl):
            read_state(path)


@pytest.mark.parametrize("data", [b"[]", b"null", b"{}", b"\x00" * 100, b'{"format": "1"}', b"\xff\xfe"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "control.json").write_bytes(data)
    with pytest.raises(CannotOpenControl, match="damaged"):
        read_state(tmp_path / "control.json")


def test_a_format_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "control.json").write_bytes(encode_state(EVERYTHING).replace(b'"format":1', b'"format":2'))
    with pytest.raises(CannotOpenControl, match="has format 2; this gateway reads format 1"):
        read_state(tmp_path / "control.json")


async def test_a_file_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    first, link = FileControlStore(path), tmp_path / "link.json"
    await first.start()
    await first.change(reserve(1))
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(CannotOpenControl, match=f"The process {os.getpid()} owns the control state"):
            await FileControlStore(name).start()
    await first.close()
    second = FileControlStore(link)
    await second.start()
    await second.change(reserve(2))
    assert link.is_symlink()
    assert read_state(path).version == 2
    await second.close()


@pytest.mark.parametrize("step", ["fsync", "rename", "open"])
async def test_a_change_that_cannot_be_written_is_refused_and_not_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = FileControlStore(tmp_path / "control.json")
    await store.start()
    await store.change(reserve(1))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"invoke_gateway.control.file_store.os.{step}", fail)
        with pytest.raises(ControlStoreError, match="No space left on device"):
            await store.change(reserve(2))
    assert store.state == read_state(store.path)
    assert store.state.version == 1
    await store.change(reserve(3))
    assert read_state(store.path).function("a", "f").reserved_concurrent_executions == 3
    await store.close()


async def test_a_default_folder_that_cannot_be_made_matters_only_to_a_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "control.json"
    with pytest.raises(CannotOpenControl, match=r"cannot be locked \(File exists\). Make its folder writable"):
        await FileControlStore(path).start()
    store = FileControlStore(path, is_default=True)
    await store.start()
    with pytest.raises(ControlStoreError, match="cannot be locked"):
        await store.change(reserve(1))
    assert store.state == ControlState()
    await store.close()


# A process that changes the state as fast as it can, and prints each version after it is durable.
CHANGES = """
import asyncio, sys
from pathlib import Path
from invoke_gateway.control.file_store import FileControlStore
from invoke_gateway.policy.control.state import NOTHING, with_reserved

async def main():
    store = FileControlStore(Path(sys.argv[1]))
    await store.start()
    while True:
        change = lambda state: state.with_function("a", "f", with_reserved(NOTHING, state.version + 1))
        state = await store.change(change)
        print(state.version, flush=True)

asyncio.run(main())
"""


def change_until_killed(path: Path, after_lines: int, rng: random.Random) -> tuple[int, int]:
    """Returns the last version that was acknowledged before a kill -9, and the version in the file after it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHANGES, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [process.stdout.readline() for _ in range(after_lines)]
    assert all(lines), process.stderr.read().decode()
    for _ in range(rng.randrange(2000)):  # somewhere within the next changes
        pass
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()  # of its buffer too, which communicate() would pass by
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream.close()
    acknowledged = [int(line) for line in [*lines, *rest.splitlines()] if line.strip()]
    state = read_state(path)
    assert state.function("a", "f").reserved_concurrent_executions == state.version
    return acknowledged[-1], state.version


def test_after_kill_9_the_state_is_the_last_one_acknowledged_or_the_one_under_way(tmp_path: Path) -> None:
    """The whole test, with a gateway, is tests/scenarios/test_control_state.py."""
    rng = random.Random(5)
    for _ in range(5):
        acknowledged, kept = change_until_killed(tmp_path / "control.json", rng.randint(1, 20), rng)
        assert kept in (acknowledged, acknowledged + 1)
