"""Finds values that are valid alone and contradict one another.

The rules are here, not in the models: a model with one invalid value runs none of its own rules, which would hide them
until the value is corrected.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from invoke_gateway.policy.events.destination_url import names_function
from invoke_gateway.policy.reservations import find_floor_violation
from invoke_gateway.secret_source import FORMS
from invoke_gateway.settings.caller_contradictions import find_caller_contradictions
from invoke_gateway.settings.models.accounts import Account
from invoke_gateway.settings.models.readable_files import find_certificate_mistake
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.outside_contradictions import find_outside_contradictions
from invoke_gateway.settings.paths import Path, join_key
from invoke_gateway.settings.problems import Finding
from invoke_gateway.settings.provisioned_contradictions import find_provisioned_contradictions
from invoke_gateway.settings.signing_contradictions import find_signing_contradictions

TARGETS = ("dead_letter_queue", "on_success", "on_failure")


def find_contradictions(settings: Settings) -> Iterator[Finding]:
    """Finds all contradictions. Each names the keys that it was found from: if one of them has a mistake of its own,
    the contradiction is not certain."""
    yield from _find_listeners(settings)
    if settings.admin_reads == "token" and settings.admin_token is None:
        needs: tuple[Path, ...] = (("admin_reads",), ("admin_token",))
        yield Finding("admin_reads", "is token, but there is no admin_token", f"set admin_token to {FORMS}", needs)
    yield from _find_certificate(settings)
    for name, account in settings.accounts.items():
        yield from _find_floor(name, account)
        yield from find_provisioned_contradictions(name, account)
        yield from _find_own_targets(name, account)
        yield from find_outside_contradictions(name, account)
    yield from _find_credentials(settings)
    yield from _find_time_outs(settings)
    yield from _find_interval(settings)
    yield from _find_quotas(settings)
    yield from _find_delays(settings)
    yield from _find_store_timeout(settings)
    yield from _find_workers(settings)
    yield from find_signing_contradictions(settings)
    yield from find_caller_contradictions(settings)


def _find_listeners(settings: Settings) -> Iterator[Finding]:
    listen, admin, url = settings.listen, settings.admin, settings.backend.url
    if admin.port and admin == listen:
        message = f"is {admin}, which is also listen"
        yield Finding("admin", message, "give the two listeners different ports", (("listen",), ("admin",)))
    for name, listener in (("listen", listen), ("admin", admin)):
        if listener.is_reached_by(url):
            cure = "give the address of the backend, or move the gateway with listen"
            needs: tuple[Path, ...] = ((name,), ("backend", "url"))
            yield Finding("backend.url", f"is {url}, which is the gateway's own {name}", cure, needs)
            return


def _find_certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls is None:
        return
    mistake = find_certificate_mistake(settings.tls.certificate, settings.tls.key)
    if mistake is not None:
        yield Finding("tls", mistake, "give the PEM files of one certificate and its unencrypted private key")


def _find_floor(name: str, account: Account) -> Iterator[Finding]:
    reserved = account.reserved
    sentence = find_floor_violation(account.concurrent_executions, (reserved,), account.unreserved_floor)
    if sentence is None:
        return
    unreserved = account.concurrent_executions - reserved
    cure = (
        f"{reserved} of {account.concurrent_executions} concurrent executions are reserved, which "
        f"leaves {unreserved} where {account.floor} must stay unreserved: reserve "
        f"{account.floor - unreserved} fewer, or raise concurrent_executions to "
        f"{reserved + account.floor}"
    )
    if unreserved >= 0:
        cure += f", or lower unreserved_floor to {unreserved}"
    # A reservation with a mistake counts as none, so it cannot be the reason.
    path = ("accounts", name)
    yield Finding(join_key(path), sentence, cure, ((*path, "concurrent_executions"), (*path, "unreserved_floor")))


def _find_own_targets(account: str, limits: Account) -> Iterator[Finding]:
    for name, function in limits.functions.items():
        if not function.has_targets:
            continue
        for key in TARGETS:
            target = getattr(function, key)
            if target is not None and names_function(target, name):
                yield Finding(
                    join_key(("accounts", account, "functions", name, key)),
                    "You can't specify the function as a destination for itself.",
                    "name another function, or a queue",
                )


def _find_credentials(settings: Settings) -> Iterator[Finding]:
    """Finds callers of accounts without limits, where other accounts have limits of their own."""
    named = [account for account in settings.accounts if account != "default"]
    if not named:
        return  # all accounts share the limits of `default`
    for access_key_id, account in settings.credentials.items():
        if account in settings.accounts:
            continue
        close = difflib.get_close_matches(account, named, n=1, cutoff=0.8)
        cure = f'did you mean "{close[0]}"? Else ' if close else ""
        cure += f'add "{account}": {{}} to accounts, or write default to share its limits'
        path = ("credentials", access_key_id)
        needs: tuple[Path, ...] = (path, ("accounts", account))
        yield Finding(join_key(path), f"is the account {account}, which is not in accounts", cure, needs)


def _find_time_outs(settings: Settings) -> Iterator[Finding]:
    """Finds time-outs within a call that are longer than that of the whole call."""
    backend = settings.backend
    for key in ("connect_timeout_seconds", "first_byte_timeout_seconds", "idle_timeout_seconds"):
        seconds = getattr(backend, key)
        if key in backend.model_fields_set and seconds is not None and seconds > backend.timeout_seconds:
            yield Finding(
                f"backend.{key}",
                f"is {seconds:g}, more than timeout_seconds ({backend.timeout_seconds:g}), which ends the call before",
                f"lower it to {backend.timeout_seconds:g}, raise timeout_seconds to {seconds:g}, or leave it out",
                (("backend", key), ("backend", "timeout_seconds")),
            )


def _find_interval(settings: Settings) -> Iterator[Finding]:
    control = settings.control
    if control.follow_interval_seconds is not None and not control.follow_backend:
        yield Finding(
            "control.follow_interval_seconds",
            "has no effect without follow_backend",
            "set follow_backend to true, or leave the interval out",
            (("control", "follow_interval_seconds"), ("control", "follow_backend")),
        )


def _find_quotas(settings: Settings) -> Iterator[Finding]:
    """Finds payloads that the quotas allow, and that never fit into the buffers."""
    for key in ("request", "event_request"):
        size = getattr(settings.quotas, key)
        if key in settings.quotas.model_fields_set and size > settings.buffer_bytes:
            yield Finding(
                f"quotas.{key}",
                f"is {size}, more than buffer_bytes ({settings.buffer_bytes}), so a payload of that size is refused",
                f"lower it to {settings.buffer_bytes}, or raise buffer_bytes to {size} at least",
                (("quotas", key), ("buffer_bytes",)),
            )


def _find_delays(settings: Settings) -> Iterator[Finding]:
    shortest, longest = settings.async_.shortest_delay_seconds, settings.async_.longest_delay_seconds
    if shortest > longest:
        yield Finding(
            "async.shortest_delay_seconds",
            f"is {shortest:g}, more than longest_delay_seconds ({longest:g})",
            f"lower it to {longest:g}, or raise longest_delay_seconds to {shortest:g}",
            (("async", "shortest_delay_seconds"), ("async", "longest_delay_seconds")),
        )


def _find_store_timeout(settings: Settings) -> Iterator[Finding]:
    lease, timeout = settings.shared.lease_seconds, settings.shared.store_timeout_seconds
    if timeout > lease / 4:
        yield Finding(
            "shared.store_timeout_seconds",
            f"is {timeout:g}, more than a quarter of lease_seconds ({lease:g})",
            f"lower it to {lease / 4:g}, or raise lease_seconds to {timeout * 4:g}",
            (("shared", "lease_seconds"), ("shared", "store_timeout_seconds")),
        )


def _find_workers(settings: Settings) -> Iterator[Finding]:
    workers, events = settings.workers, settings.async_
    if workers == 1:
        return
    if settings.faults is True:
        yield Finding(
            "faults",
            f"is true with {workers} workers, but a fault script counts its calls in one process",
            "run one worker where faults are scripted, or leave faults out",
            (("workers",), ("faults",)),
        )
    if events.mode == "forward":
        return
    needs: tuple[Path, ...] = (("workers",), ("counters",), ("async", "mode"), ("async", "store"))
    if events.store is not None and events.store.startswith("sqlite:"):
        yield Finding(
            "async.store",
            f"is a file, which only one process can use, and there are {workers} workers",
            "give a Redis or Valkey that they share (redis://127.0.0.1:6379/0), or run one worker",
            needs,
        )
    elif events.store is None and settings.counters.partition("://")[0].endswith("+cluster"):
        yield Finding(
            "async.store",
            f"is not set, {workers} workers need one, and events cannot be kept where the counters are",
            "give the URL of one Redis or Valkey, or set async.mode to forward",
            needs,
        )
