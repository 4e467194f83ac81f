"""The settings file is watched also where the system has no watch left."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.background import CAUSE, BackgroundTasks
from invoke_gateway.server import reload as reloading
from invoke_gateway.server.reload import SettingsWatch, keep_reloading
from invoke_gateway.telemetry.reload_state import ReloadState
from tests.support.gateways import eventually, make_settings
from tests.support.served import served

NO_INOTIFY = (
    *("unshare", "-Ur", "--mount", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"',
    "sh",
)


def can_have_no_inotify() -> bool:
    try:
        return subprocess.run([*NO_INOTIFY, "true"], capture_output=True, timeout=60).returncode == 0
    except OSError:
        return False


def limits(concurrent_executions: int) -> dict[str, Any]:
    return {"concurrent_executions": concurrent_executions, "functions": {}}


@pytest.mark.skipif(not can_have_no_inotify(), reason="no user namespaces here")
def test_without_an_inotify_instance_the_file_is_read_every_second(tmp_path: Path) -> None:
    with served(tmp_path, "--watch", prefix=NO_INOTIFY, accounts={"default": limits(5)}) as gateway:
        gateway.until_up()
        line = gateway.until_logged(r"WARNING .* cannot be watched \((.*)\), so it is read every 1 s")
        assert "Too many open files" in line[1]
        gateway.write(accounts={"default": limits(7)})
        gateway.until_logged("settings reloaded")
        assert gateway.metric('degraded{cause="background_task"}') == 0
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log
        assert gateway.log.splitlines()[-1].endswith("INFO stopped")


@pytest.fixture
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "POLL_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "the watch has ended"),
        (OSError(28, "the disk is full"), "the disk is full"),
        (ExceptionGroup("group", [RuntimeError("out of\nwatches")]), "out of watches"),
    ],
    ids=["end", "error", "group"],
)
@pytest.mark.usefixtures("short_pause")
async def test_whatever_ends_the_watch_changes_are_seen(
    error: Exception | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def awatch(*_: object, **__: object) -> AsyncIterator[None]:
        if error is not None:
            raise error
        return
        yield

    monkeypatch.setattr("watchfiles.awatch", awatch)
    file = tmp_path / "gateway.yaml"
    file.write_text("a")
    changed = asyncio.Event()
    tasks = BackgroundTasks()
    async with tasks.running(SettingsWatch(file, b"a", changed).keep_watching, "watch"):
        await eventually(lambda: why in caplog.text, "it says so")
        assert not changed.is_set()
        file.write_text("b")
        await eventually(changed.is_set, "the change is seen")
    assert not tasks.degraded[CAUSE]
    assert tasks.failures == {"watch": 0}


async def test_a_mistake_of_ours_in_reading_the_settings_is_not_the_end_of_reloading(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Reloaded:
        def __init__(self) -> None:
            self.settings = make_settings("demo")
            self.degraded: dict[str, bool] = {}
            self.reload_state = ReloadState()
            self.adopted = 0

        async def adopt(self, settings: object) -> None:
            self.adopted += 1

    gateway = Reloaded()
    answers: list[Any] = [RecursionError("too deep"), gateway.settings]

    def read() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    changed = asyncio.Event()
    changed.set()
    tasks = BackgroundTasks()
    async with tasks.running(lambda: keep_reloading(gateway, read, changed), "reload"):
        await eventually(lambda: gateway.degraded.get("settings_invalid"), "it is degraded")
        assert "too deep" in caplog.text
        assert "too deep" in str(gateway.reload_state.error)
        changed.set()
        await eventually(lambda: gateway.adopted == 1, "the next change is taken")
    assert not gateway.degraded["settings_invalid"]
    assert gateway.reload_state.error is None
    assert tasks.failures == {"reload": 0}
