"""Runs a Valkey or Redis on a Unix socket: starts it, hands on its log, restarts it when it dies, ends it.

It listens on no network. It ends with this process, however that ends (server_guard.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from pathlib import Path
from time import monotonic

from ..queue.base import CannotOpen

log = logging.getLogger("invoke_gateway")

_GUARD = Path(__file__).with_name("server_guard.py")
_START_SECONDS = 20.0  # to reply; longer only while it reads its data
_END_SECONDS = 10.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a server that died is restarted
_STEADY_SECONDS = 30.0
_PING_SECONDS = 0.01

# Warnings that are no reason for an action: the kernel's setting matters to large servers that copy themselves.
_USUAL = ("WARNING Memory overcommit", "WARNING overcommit_memory", "Warning: no config file")

IN_MEMORY = ("--save", "", "--appendonly", "no")
# A reply is sent when the change is on the disk. What arrives together is written together.
ON_DISK = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class EmbeddedServer:
    """Runs one server process.

    what: of what it keeps, as log lines name it ("counters").
    socket: the path of its socket, in a folder that only this user may enter.
    folder: its working directory, and its data.
    arguments: `IN_MEMORY` or `ON_DISK`.
    """

    def __init__(self, what: str, program: str, socket: Path, folder: Path, arguments: tuple[str, ...]) -> None:
        self.what = what
        self.socket = socket
        self.restarts = 0
        self._program = program
        self._command = [
            *(program, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder)),
            *("--daemonize", "no", "--logfile", "", "--databases", "1", "--maxmemory-policy", "noeviction", *arguments),
        ]
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last_lines: deque[str] = deque(maxlen=3)
        self._started_at = 0.0
        self._is_closing = False

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts the server, and returns once it replies. Raises `CannotOpen` where it ends, or does not reply."""
        self._last_lines.clear()
        self._started_at = monotonic()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *self._command),
                stdin=asyncio.subprocess.PIPE,  # ends with this process
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor
            )
        except OSError as error:
            raise CannotOpen(f"The embedded store of {self.what} does not start ({error}).") from error
        self._reader = asyncio.create_task(self._read_log(self._process), name=f"log of the store of {self.what}")
        await self._wait_ready(self._process)
        log.debug("embedded store of %s: %s, process %d", self.what, self._program, self._process.pid)

    async def keep(self) -> None:
        """Restarts the server whenever it has ended."""
        pause = _SHORTEST_PAUSE
        while True:
            assert self._process is not None
            status = await self._process.wait()
            await self._end_reader()
            if monotonic() - self._started_at > _STEADY_SECONDS:
                pause = _SHORTEST_PAUSE
            log.error(
                "the embedded store of %s (process %d) %s, and is restarted. %s",
                self.what, self._process.pid, _describe_status(status), self._describe_last_lines(),
            )  # fmt: skip
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    await self.start()
                except CannotOpen as error:
                    log.error("%s It is tried again in %.1f s.", error, pause)
                    continue
                break
            self.restarts += 1
            log.info("the embedded store of %s was replaced by process %d", self.what, self._process.pid)

    async def close(self) -> None:
        self._is_closing = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.error("the embedded store of %s does not end; it is killed", self.what)
                process.kill()
                await process.wait()
        await self._end_reader()

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        end = self._started_at + _START_SECONDS
        while process.returncode is None:
            reply = await self._ping()
            if reply.startswith(b"+PONG"):
                return
            if reply.startswith(b"-LOADING"):
                end = monotonic() + _START_SECONDS
            if monotonic() > end:
                process.kill()
                break
            await asyncio.sleep(_PING_SECONDS)
        await process.wait()
        await self._end_reader()
        raise CannotOpen(
            f"The embedded store of {self.what} does not start: {self._program} "
            f"{_describe_status(process.returncode or 0)}. {self._describe_last_lines()}"
        )

    async def _ping(self) -> bytes:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except (OSError, TimeoutError):
            return b""
        try:
            async with asyncio.timeout(1):
                writer.write(b"PING\r\n")
                return await reader.readline()
        except (OSError, TimeoutError):
            return b""
        finally:
            writer.close()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            text = line.decode(errors="replace").strip()
            if not text:
                continue
            self._last_lines.append(text)
            # `pid:role date time # text`: the sign is the level.
            _, sign, warning = text.partition(" # ")
            is_shown = bool(sign) and not self._is_closing and not warning.startswith(_USUAL)
            log.log(logging.WARNING if is_shown else logging.DEBUG, "store of %s: %s", self.what, warning or text)

    async def _end_reader(self) -> None:
        """Waits for the end of the log; a process that was killed leaves some of it behind."""
        reader, self._reader = self._reader, None
        if reader is not None:
            done, _ = await asyncio.wait([reader], timeout=1)
            if not done:
                reader.cancel()
                await asyncio.wait([reader])

    def _describe_last_lines(self) -> str:
        return f"Its last lines: {' | '.join(self._last_lines)}" if self._last_lines else "It logged nothing."

    def __repr__(self) -> str:
        return f"<EmbeddedServer of {self.what} at {self.socket}, process {self.pid}>"


def _describe_status(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
