"""Logs the start of a gateway: its version, settings, addresses, limits and stores, and whether it is degraded."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Protocol

from .. import __version__
from ..policy.os_text import printable
from ..settings import Account, Address, Settings
from ..store.store_name import name_store
from .admin_access import warn_of_no_token

log = logging.getLogger("invoke_gateway")

_MOST_SHOWN = 5  # reservations


class StartedServer(Protocol):
    """Describes a gateway that has begun to serve.

    listen, admin: the addresses that are bound; the first one if a name has several
    """

    settings: Settings
    listen: Address
    admin: Address
    invoke_addresses: list[Address]
    admin_addresses: list[Address]

    async def check_backend(self) -> str | None:
        """Returns the reason why the backend is down; None while it is up."""

    async def find_degraded(self) -> list[str]:
        """Returns the causes for which the gateway is degraded."""

    def find_why_not_ready(self) -> str | None:
        """Returns the reason for which no call is admitted, as /readyz has it; None while calls are."""


def log_version(settings: Settings, config: Path | None) -> None:
    """Logs the version and the settings file, before anything can fail."""
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""
    source = f"settings file {printable(str(config.absolute()))}" if config is not None else "no settings file"
    log.info(
        "Invoke Gateway %s starts (process %d%s), %s",
        *(__version__, os.getpid(), workers, source),
        extra={
            "fields": {
                "kind": "start",
                "version": __version__,
                "process": os.getpid(),
                "settings_file": None if config is None else printable(str(config.absolute())),
                "workers": settings.workers,
            }
        },
    )


async def log_start(server: StartedServer) -> None:
    """Logs the parts of the gateway; the last line is whether it is ready, with the causes of degradation."""
    settings = server.settings
    _log_addresses(server, settings)
    warn_of_no_token(settings, server.admin_addresses)
    _warn_unverified(server, settings)
    _log_limits(settings)
    _log_stores(settings)
    await _log_backend(server, settings)
    causes = await server.find_degraded()
    why_not = server.find_why_not_ready()
    extra = {"fields": {"kind": "ready", "is_ready": why_not is None, "degraded": causes}}
    cure = "GET /readyz and /live have the details, docs/runbook.md the remedies"
    if why_not is not None:
        log.warning("not ready: %s. %s %s", ", ".join(causes) or "no cause is known", why_not, cure, extra=extra)
    elif causes:
        log.warning("ready, but degraded: %s. %s", ", ".join(causes), cure, extra=extra)
    else:
        log.info("ready: nothing is degraded", extra=extra)


def _log_addresses(server: StartedServer, settings: Settings) -> None:
    for address in server.invoke_addresses:
        url = f"http{'s' if settings.tls else ''}://{address}"
        log.info("Invoke API on %s", url, extra={"fields": {"kind": "listening", "listener": "invoke", "url": url}})
    faults = " /faults" if settings.accepts_faults else ""
    workers = " /workers" if settings.workers > 1 else ""
    url = f"http://{server.admin}/"
    extra = {"fields": {"kind": "listening", "listener": "live_page", "url": url}}
    log.info("live page on %s", url, extra=extra)
    paths = f"/metrics /status /healthz /readyz /limits /control /holds /in-flight /queue /refusals{faults}{workers}"
    for address in server.admin_addresses:
        url = f"http://{address}"
        extra = {"fields": {"kind": "listening", "listener": "admin", "url": url}}
        log.info("admin on %s (%s)", url, paths, extra=extra)


def _warn_unverified(server: StartedServer, settings: Settings) -> None:
    reached = [address for address in server.invoke_addresses if not ip_address(address.host).is_loopback]
    if settings.signatures == "off" and reached:
        log.warning(
            "signatures is off, and other machines reach the Invoke API on %s: each of them may use any account. "
            "Set signatures to verify, or listen to 127.0.0.1.",
            reached[0],
            extra={"fields": {"kind": "signatures_off", "url": str(reached[0])}},
        )


def _log_limits(settings: Settings) -> None:
    account = settings.accounts["default"]
    others = len(settings.accounts) - 1
    more = f"; {others} more account{'s' if others > 1 else ''}" if others else ""
    log.info(
        "limits in the settings: %s%s",
        *(_describe_limits(account), more),
        extra={
            "fields": {
                "kind": "limits",
                "concurrent_executions": account.concurrent_executions,
                "reserved": account.reserved,
                "functions": len(account.functions),
                "accounts": len(settings.accounts),
            }
        },
    )


def _describe_limits(account: Account) -> str:
    """Returns the limits of an account in short, with its first reservations."""
    reserving = (name for name, one in account.functions.items() if one.reserved_concurrent_executions is not None)
    shown = [
        f"{name} {account.functions[name].reserved_concurrent_executions}" for name in islice(reserving, _MOST_SHOWN)
    ]
    more = sum(1 for _ in reserving)
    total = f"{account.concurrent_executions} concurrent executions"
    if not shown:
        return total
    names: Sequence[str] = [*shown, f"{more} more"] if more else shown
    return f"{total}, of which {account.reserved} reserved ({', '.join(names)})"


def _log_stores(settings: Settings) -> None:
    is_shared = settings.counters != "memory" or settings.workers > 1
    if settings.counters != "memory":
        store = name_store(settings.counters)
    else:
        store = "embedded" if settings.workers > 1 else "memory"
    terms = (
        f", lease {settings.shared.lease_seconds:g} s, on failure {settings.shared.on_store_failure}"
        if is_shared
        else ""
    )
    log.info("counters: %s%s", store, terms, extra={"fields": {"kind": "counters", "store": store}})
    if settings.async_.mode == "forward":
        text = "events: forwarded to the backend (async.mode: forward)"
        log.info(text, extra={"fields": {"kind": "events", "store": None}})


async def _log_backend(server: StartedServer, settings: Settings) -> None:
    url = settings.backend.url
    why_down = await server.check_backend()
    shown = "demo (embedded: echo, sleep, fail, blob, stream)" if url == "demo" else url
    log.info("backend %s", shown, extra={"fields": {"kind": "backend", "url": url, "is_up": why_down is None}})
    if why_down is not None:
        extra = {"fields": {"kind": "backend_down", "url": url, "reason": why_down}}
        log.warning("serving without the backend: %s", why_down, extra=extra)
