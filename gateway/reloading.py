"""New limits while the gateway runs: on SIGHUP, or when the settings file changes. A file with mistakes leaves the old
limits in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import watchfiles

from .settings import Settings, SettingsError, restart_needed

log = logging.getLogger("gateway")


class Reloadable(Protocol):
    """What can take new limits. `settings` are those of its start; `degraded` says of each cause whether it is so."""

    settings: Settings
    degraded: dict[str, bool]

    async def adopt(self, settings: Settings) -> None:
        """Put the accounts, credentials and quotas of `settings` in force."""


async def keep_reloading(gateway: Reloadable, read: Callable[[], Settings], changed: asyncio.Event) -> None:
    """Put new limits in force whenever `changed` is set; bad ones leave the old in force and say why."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            settings = await asyncio.to_thread(read)
        except SettingsError as error:
            gateway.degraded["settings_invalid"] = True
            log.error("settings not reloaded, the old ones stay in force:\n%s", error)
            continue
        await gateway.adopt(settings)
        waiting = restart_needed(gateway.settings, settings)
        gateway.degraded |= {"settings_invalid": False, "restart_needed": bool(waiting)}
        log.info("settings reloaded: accounts, credentials and quotas are in force")
        if waiting:
            log.warning("changed, but in force only after a restart: %s", ", ".join(waiting))


async def watch(config: Path, before: bytes | None, changed: asyncio.Event) -> None:
    """Notice when the file's bytes are no longer those of `before`. The folder is watched, because editors and mounts
    replace the file; and it is looked at every second all the same, for a change before the watch was set up."""
    async for _ in watchfiles.awatch(config.parent, recursive=False, rust_timeout=1000, yield_on_timeout=True):
        after = read_bytes(config)
        if after is not None and after != before:
            before = after
            changed.set()


def read_bytes(config: Path) -> bytes | None:
    try:
        return config.read_bytes()
    except OSError:
        return None  # between its removal and its replacement
