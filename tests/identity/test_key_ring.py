"""The access keys in force: read again on a reload, when a file changes, and before they expire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from invoke_gateway.identity import key_ring
from invoke_gateway.identity.key_ring import (
    CAUSE,
    EARLY_SECONDS,
    RETRY_SECONDS,
    KeyRing,
    KeySource,
    read_keys,
)
from invoke_gateway.invocation import Caller
from tests.support.gateways import eventually

ARN = "arn:aws:iam::111122223333:user/alice"


def source_of(path: Path, key: str = "AKIA") -> KeySource:
    return KeySource(key, ARN, "111122223333", f"file:{path}")


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Replace a file as editors and mounts do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
    return path


@asynccontextmanager
async def kept_fresh(ring: KeyRing) -> AsyncIterator[None]:
    task = asyncio.create_task(ring.keep_fresh())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_two_access_keys_of_one_caller(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", "1"), write(tmp_path / "b", "2")
    keys, problems = read_keys([source_of(first), source_of(second, "BKIA")])
    assert problems == {}
    assert {name: key.secret for name, key in keys.items()} == {"AKIA": "1", "BKIA": "2"}
    assert [key.caller for key in keys.values()] == [
        Caller("AKIA", "111122223333", ARN),
        Caller("BKIA", "111122223333", ARN),
    ]


async def test_an_unreadable_secret_leaves_the_last_one_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, degraded = write(tmp_path / "a", "first"), dict[str, bool]()
    ring = KeyRing(degraded)
    await ring.adopt([source_of(path)])
    path.chmod(0o644)
    await ring.refresh()
    await ring.refresh()
    assert ring.keys["AKIA"].secret == "first"
    assert degraded == {CAUSE: True}
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1, "each failure is logged once"
    assert "every user" in errors[0].getMessage()
    write(path, "second")
    await ring.refresh()
    assert ring.keys["AKIA"].secret == "second"
    assert degraded == {CAUSE: False}
    assert "first" not in caplog.text


async def test_a_reload_takes_keys_away_and_adds_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "1")
    ring = KeyRing({})
    await ring.adopt([source_of(path), source_of(path, "BKIA")])
    await ring.adopt([source_of(path, "BKIA"), source_of(path, "CKIA")])
    assert set(ring.keys) == {"BKIA", "CKIA"}


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "1")
    ring = KeyRing({}, watches=True)
    await ring.adopt([source_of(path)])
    async with kept_fresh(ring):
        await asyncio.sleep(0)
        write(path, "2")
        await eventually(lambda: ring.keys["AKIA"].secret == "2", "the new secret is in force")


async def test_a_secret_is_read_again_before_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "RETRY_SECONDS", 0.01)
    path = write(tmp_path / "a", json.dumps({"AKIA": {"secret": "1", "expires": time() + EARLY_SECONDS + 0.05}}))
    ring = KeyRing({})
    await ring.adopt([source_of(path)])
    write(path, json.dumps({"AKIA": {"secret": "2", "expires": time() + 2 * EARLY_SECONDS}}))
    async with kept_fresh(ring):
        assert ring.keys["AKIA"].secret == "1"
        await eventually(lambda: ring.keys["AKIA"].secret == "2", "the secret is read five minutes before its end")


async def test_secrets_are_read_again_at_their_time(tmp_path: Path) -> None:
    now = 1000.0
    path = write(tmp_path / "a", json.dumps({"AKIA": {"secret": "1", "expires": 5000}}))
    ring = KeyRing({}, clock=lambda: now)
    assert ring.find_due() is None
    await ring.adopt([source_of(path)])
    assert ring.find_due() == 5000 - EARLY_SECONDS
    now = 4900.0
    assert ring.find_due() == now + RETRY_SECONDS, "the source still has the old one"
    path.unlink()
    await ring.refresh()
    assert ring.find_due() == now + RETRY_SECONDS, "a source that fails is read until it does not"
