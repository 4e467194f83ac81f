"""Starts the stores of workers where the settings name none: one of counters, in memory, and one of events, on disk.

They are two servers, because counters need no disk, and events need each reply to wait for it (docs/decisions/
0012-embedded-store.md). Both listen on Unix sockets in a folder that only this user may enter.

The counters begin at 0, so no call of an earlier run may still run. After a supervisor was killed its workers end, each
after its calls. They hold a lock until then, and the next start waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ..app.control import check_control_store, find_control_file
from ..background import BackgroundTasks
from ..queue.base import CannotOpen
from ..queue.location import find_folder
from ..settings import Settings
from ..state_folder import NoStateFolder
from ..store.server_program import NO_PROGRAM, find_server_program
from .embedded_server import IN_MEMORY, ON_DISK, EmbeddedServer

log = logging.getLogger("invoke_gateway")

_LONGEST_PATH = 100  # bytes of a socket's path; systems allow 104 or 107
_POLL_SECONDS = 0.1
_EXTRA_SECONDS = 15.0  # beyond drain_seconds, for workers of an earlier run to end


class Embedded(NamedTuple):
    """Holds what an embedded store adds to a gateway.

    settings: those of the workers, with the addresses of the servers.
    calls_lock: a descriptor that each worker inherits and holds until its end; None where none is needed.
    """

    settings: Settings
    servers: list[EmbeddedServer]
    calls_lock: int | None


@contextlib.asynccontextmanager
async def running_stores(settings: Settings, tasks: BackgroundTasks) -> AsyncIterator[Embedded]:
    """Runs the stores of these settings until the block ends; none where the settings name a store. Raises
    `CannotOpen`, and `CannotOpenControl` for a damaged control state."""
    if not settings.needs_embedded_store:
        yield Embedded(settings, [], None)
        return
    program = find_server_program()
    if program is None:  # it was there when the settings were read
        raise CannotOpen(f"workers: the counters need a server, and {NO_PROGRAM}.")
    check_control_store(settings)
    async with contextlib.AsyncExitStack() as stack:
        sockets = _make_private_folder()
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        keeps_events = settings.async_.mode == "queue" and settings.async_.store is None
        folder, is_temporary = find_folder(settings.listen.port, is_demo=settings.backend.url == "demo")
        calls_lock = None
        if is_temporary:
            folder = sockets
        else:
            calls_lock = await _own(folder, settings.drain_seconds + _EXTRA_SECONDS, stack)
        servers = [EmbeddedServer("counters", program, sockets / "counters.sock", sockets, IN_MEMORY)]
        if keeps_events:
            data = folder / "events"
            data.mkdir(mode=0o700, exist_ok=True)
            servers.append(EmbeddedServer("events", program, sockets / "events.sock", data, ON_DISK))
        for server in servers:
            stack.push_async_callback(server.close)
        await asyncio.gather(*(server.start() for server in servers))
        for server in servers:
            await stack.enter_async_context(tasks.running(server.keep, f"embedded store of {server.what}"))
        log.info("counters in an embedded store (%s)", program)
        if keeps_events:
            log.info("events in %s%s", data, ", which is removed at the end" if is_temporary else "")
        yield Embedded(_name_servers(settings, servers), servers, calls_lock)


def _name_servers(settings: Settings, servers: list[EmbeddedServer]) -> Settings:
    """Returns the settings of the workers. They are all that share the counters, so these are complete with them."""
    changed: dict[str, object] = {
        "counters": servers[0].url,
        "shared": settings.shared.model_copy(update={"expected_gateways": 1}),
    }
    with contextlib.suppress(NoStateFolder):
        file = find_control_file(settings)
        if file is not None:  # the counters' server has no disk
            changed["control"] = settings.control.model_copy(update={"store": f"file://{file}"})
    if len(servers) > 1:
        changed["async_"] = settings.async_.model_copy(update={"store": servers[1].url})
    return settings.model_copy(update=changed)


def _make_private_folder() -> Path:
    """Makes a folder with the mode 0700. Where TMPDIR is too long for a socket's path, it lies in /tmp."""
    folder = tempfile.mkdtemp(prefix="invoke-gateway-")
    if len(os.fsencode(folder)) > _LONGEST_PATH - len("/counters.sock"):
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="invoke-gateway-", dir="/tmp")
    return Path(folder)


async def _own(folder: Path, longest_seconds: float, stack: contextlib.AsyncExitStack) -> int:
    """Owns the folder until the stack ends, and waits for the workers of an earlier run. Returns the descriptor of the
    lock that workers hold."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        supervisor, calls = (_open_lock(folder / name, stack) for name in ("supervisor.lock", "workers.lock"))
    except OSError as error:
        action = "Correct its mode, or set XDG_STATE_HOME to a folder that can be written"
        raise CannotOpen(
            f"The folder of the workers' store, {folder}, cannot be used ({error.strerror}). {action}."
        ) from None
    if not _lock(supervisor):
        raise CannotOpen(f"Another gateway uses {folder}. End it, or give this one another port (listen).")
    end = monotonic() + longest_seconds
    is_logged = False
    while not _lock(calls):
        if not is_logged:
            log.warning(
                "workers of an earlier run still finish their calls, which the new counters do not have. "
                "The start waits until they have ended, at most %.0f s.",
                longest_seconds,
            )
            is_logged = True
        if monotonic() > end:
            raise CannotOpen(
                f"Workers of an earlier run have not ended within {longest_seconds:.0f} s, and their calls would "
                f"exceed the limits. End them (`fuser {folder / 'workers.lock'}` lists them), and start again."
            )
        await asyncio.sleep(_POLL_SECONDS)
    return calls


def _open_lock(path: Path, stack: contextlib.AsyncExitStack) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, lock)
    return lock


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
