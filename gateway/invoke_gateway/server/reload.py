"""Applies new limits while the gateway runs: on SIGHUP, or when the settings file changes.

A file with mistakes leaves the old limits in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import watchfiles

from ..settings import Settings, SettingsError, restart_needed
from ..settings.changes import describe_changes
from ..telemetry.reload_state import ReloadState

log = logging.getLogger("invoke_gateway")

POLL_SECONDS = 1.0


class Reloadable(Protocol):
    """Takes new limits.

    settings: the settings of its start
    degraded: for each cause, whether the gateway is degraded by it
    reload_state: the result of the last reload
    """

    settings: Settings
    degraded: dict[str, bool]
    reload_state: ReloadState

    async def adopt(self, settings: Settings) -> None:
        """Puts the accounts, credentials and quotas of `settings` in force."""


async def keep_reloading(gateway: Reloadable, read: Callable[[], Settings], changed: asyncio.Event) -> None:
    """Puts new limits in force whenever `changed` is set. Settings with mistakes are logged, and the old limits stay in
    force."""
    in_force = gateway.settings
    while True:
        await changed.wait()
        changed.clear()
        try:
            settings = await asyncio.to_thread(read)
        except SettingsError as error:
            gateway.degraded["settings_invalid"] = True
            gateway.reload_state.record_refusal(str(error.problems[0]), len(error.problems))
            problems = len(error.problems)
            extra = {"fields": {"kind": "reload_refused", "problems": problems}}
            log.error("settings not reloaded, so the old settings stay in force:\n%s", error, extra=extra)
            continue
        except Exception as error:  # a mistake of ours must not hide the next change
            gateway.degraded["settings_invalid"] = True
            gateway.reload_state.record_refusal(f"reading the settings failed inside the gateway: {error!r}")
            log.exception("settings not reloaded, so the old settings stay in force")
            continue
        await gateway.adopt(settings)
        waiting = restart_needed(gateway.settings, settings)
        gateway.reload_state.record_success(waiting)
        gateway.degraded |= {"settings_invalid": False, "restart_needed": bool(waiting)}
        changes = await asyncio.to_thread(describe_changes, in_force, settings)
        in_force = settings
        log.info(
            "settings reloaded: %s",
            changes,
            extra={
                "fields": {
                    "kind": "reload",
                    "changes": changes.shown,
                    "changed": changes.number,
                    "restart_needed": waiting,
                }
            },
        )
        if waiting:
            extra = {"fields": {"kind": "restart_needed", "restart_needed": waiting}}
            log.warning("changed, but applied only by a restart: %s", ", ".join(waiting), extra=extra)


class SettingsWatch:
    """Watches the settings file.

    before: the bytes in force
    changed: is set when the file has other bytes
    others_have_changed: returns whether a file that the settings name has changed
    """

    def __init__(
        self,
        config: Path,
        before: bytes | None,
        changed: asyncio.Event,
        others_have_changed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._others_have_changed = others_have_changed
        self._before = before
        self._changed = changed

    async def keep_watching(self) -> None:
        """Watches the folder, because editors and mounts replace the file. If the system has no watch left, the file is
        read every second."""
        try:
            await self._watch()
            why = "the watch has ended"
        except Exception as error:  # of many kinds, the library's own among them; reading the file needs none of it
            why = _describe(error)
        log.warning(
            "%s cannot be watched (%s), so it is read every %g s. "
            "To have it watched, raise fs.inotify.max_user_instances and max_user_watches.",
            self._config.parent,
            why,
            POLL_SECONDS,
        )
        while True:
            self._check()
            await asyncio.sleep(POLL_SECONDS)

    async def _watch(self) -> None:
        """Watches the folder. The file is also read every second, for a change before the watch was set up."""
        milliseconds = int(POLL_SECONDS * 1000)
        folder = self._config.parent
        async for _ in watchfiles.awatch(folder, recursive=False, rust_timeout=milliseconds, yield_on_timeout=True):
            self._check()

    def _check(self) -> None:
        after = read_bytes(self._config)
        if after is not None and after != self._before:
            self._before = after
            self._changed.set()
        if self._others_have_changed():
            self._changed.set()


def _describe(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):  # of the library's task group
        error = error.exceptions[0]
    return " ".join(str(error).split()) or type(error).__name__


def read_bytes(config: Path) -> bytes | None:
    try:
        return config.read_bytes()
    except OSError:
        return None  # between its removal and its replacement
