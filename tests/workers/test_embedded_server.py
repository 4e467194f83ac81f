"""One server of an embedded store: a real one, started, killed and ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis

from invoke_gateway.background import BackgroundTasks
from invoke_gateway.queue.base import CannotOpen
from invoke_gateway.workers import embedded_server
from invoke_gateway.workers.embedded_server import IN_MEMORY, ON_DISK, EmbeddedServer

from ..support.gateways import eventually
from ..support.processes import wait_until
from ..support.stores import KINDS, find_binary
from .test_workers import is_alive


@asynccontextmanager
async def serving(kind: str, arguments: tuple[str, ...] = IN_MEMORY) -> AsyncIterator[EmbeddedServer]:
    with TemporaryDirectory(prefix="store-") as folder:
        server = EmbeddedServer("counters", str(find_binary(kind)), Path(folder) / "s", Path(folder), arguments)
        try:
            await server.start()
            yield server
        finally:
            await server.close()


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket), protocol=2, decode_responses=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_it_listens_on_its_socket_alone_and_leaves_nothing_behind(kind: str) -> None:
    async with serving(kind) as server:
        with client(server) as connection:
            assert connection.config_get("port") == {"port": "0"}
            assert connection.config_get("appendonly") == {"appendonly": "no"}
        assert server.socket.stat().st_mode & 0o077 == 0
        pid = server.pid
        assert pid is not None
    assert not is_alive(pid)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_killed_is_restarted_and_has_what_was_on_disk(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "invoke_gateway")
    async with serving(kind, ON_DISK) as server, BackgroundTasks().running(server.keep, "keep"):
        with client(server) as connection:
            connection.set("kept", "yes")
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: server.restarts == 1, "it is restarted", 20)
        with client(server) as connection:
            assert connection.get("kept") == "yes"
        assert f"the embedded store of counters (process {killed}) was killed by SIGKILL" in caplog.text
        assert f"was replaced by process {server.pid}" in caplog.text


async def test_a_server_that_cannot_start_is_an_error_with_its_last_words() -> None:
    with TemporaryDirectory(prefix="store-") as folder:
        (Path(folder) / "appendonly.aof").write_text("no AOF")
        arguments = (*ON_DISK, "--no-such-directive", "1")
        server = EmbeddedServer("events", str(find_binary("valkey")), Path(folder) / "s", Path(folder), arguments)
        with pytest.raises(CannotOpen, match=r"embedded store of events does not start: .*no-such-directive"):
            await server.start()
        await server.close()


@pytest.mark.parametrize("watches", [False, pytest.param(True, id="watches")])
def test_it_ends_when_its_parent_is_killed(watches: bool, tmp_path: Path) -> None:
    """On Linux by the kernel, elsewhere by the guard that watches."""
    code = """
import asyncio, sys
from pathlib import Path
from invoke_gateway.workers.embedded_server import IN_MEMORY, EmbeddedServer

async def main():
    server = EmbeddedServer("counters", sys.argv[1], Path(sys.argv[2]), Path(sys.argv[2]).parent, IN_MEMORY)
    await server.start()
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    with TemporaryDirectory(prefix="store-") as folder:
        socket = Path(folder) / "s"
        environment = {**os.environ, **({"INVOKE_GATEWAY_GUARD_WATCHES": "1"} if watches else {})}
        command = [sys.executable, "-c", code, str(find_binary("valkey")), str(socket)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"ready\n"
            with redis.Redis(unix_socket_path=str(socket)) as connection:
                pid = connection.info()["process_id"]
            assert is_alive(pid)
            parent.kill()
        wait_until(lambda: not is_alive(pid), "the server has ended")


async def test_its_log_is_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "invoke_gateway")
    async with serving("valkey"):
        await eventually(lambda: "store of counters: " in caplog.text, "a line of the server", 20)
        assert not [record for record in caplog.records if record.levelno > logging.DEBUG], (
            "a usual start is no warning"
        )


async def test_a_server_that_hangs_at_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_server, "_END_SECONDS", 0.1)
    async with serving("valkey") as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    assert not is_alive(pid)
