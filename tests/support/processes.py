"""Starts real processes for the tests on free loopback ports, waits for them, keeps their output, and ends them by
their id."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import forking

LOOPBACK = "127.0.0.1"
# Below Linux's range for outgoing connections: none of those can take the port between our look and its use.
PORTS = range(20_000, 30_000)
GRACE_SECONDS = 60.0  # between asking a process to stop and ending it
PATIENCE = 60.0  # seconds after which what should happen has not happened, on a busy machine too


_taken: set[int] = set()  # by this process, whether something listens there yet or not


def free_port(among: range = PORTS, beside: int = 0) -> int:
    """Returns a loopback port without a listener. No port is returned twice, by any worker of one run.

    beside: the distance to a second port that must be free, and is taken too
    """
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    mine = among[int(worker.removeprefix("gw")) :: int(workers)]
    for port in random.SystemRandom().sample(mine, min(len(mine), 100)):
        wanted = {port, port + beside}
        if wanted.isdisjoint(_taken) and all(map(_is_free, wanted)):
            _taken.update(wanted)
            return port
    raise RuntimeError(f"no free port found between {among.start} and {among.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind((LOOPBACK, port))
        return True
    return False


def listens(port: int) -> bool:
    """Returns True if something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def fetch_json(url: str, timeout: float = PATIENCE) -> Any:
    """Returns the JSON of a GET of `url` with status 200; no proxy of the environment is used."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise http.client.HTTPException(f"{url} answered {response.status}")
    return json.loads(body)


def wait_until(is_true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Return once `is_true()` is; AssertionError naming `what` after `timeout` seconds, never less than `PATIENCE`.

    A predicate that cannot ask yet (refused, reset, not JSON) counts as not true yet.
    """
    timeout = max(timeout, PATIENCE)
    deadline = time.monotonic() + timeout
    pause = 0.01
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException, ValueError):
            if is_true():
                return
        time.sleep(pause)
        pause = min(pause * 1.1, 0.05)  # what takes long is looked for less often
    raise AssertionError(f"{timeout} seconds passed without: {what}")


class RunningProcess:
    """Holds a process with a group of its own, so that stopping it also ends the workers it started."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self.name = Path(arguments[0]).name
        self.log = log
        with log.open("wb") as output:
            self._process = forking.Popen(
                arguments,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        return f"<{self.name} pid={self._process.pid} exit={self._process.poll()} log={self.log}>"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, is_true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Like `wait_until`, but gives up at once when the process has ended; the error quotes its log."""

        def is_true_or_ended() -> bool:
            return not self.is_running or bool(is_true())

        try:
            wait_until(is_true_or_ended, what, timeout)
            assert self.is_running, f"ended before: {what}"
        except AssertionError as error:
            raise AssertionError(f"{self!r}: {error}\n{self.tail()}") from error

    def tail(self, lines: int = 30) -> str:
        """Returns the last lines of the process's output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """Kills it without a signal before."""
        self._process.kill()

    def stop(self) -> int:
        """Stops it by a signal, waits, and kills the rest of the group. Returns the exit code."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


@contextmanager
def running(arguments: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path) -> Iterator[RunningProcess]:
    """Runs the process for the length of the block, and stops it at its end in any case."""
    process = RunningProcess(arguments, log, environment, cwd)
    try:
        yield process
    finally:
        process.stop()


def bare_environment(home: Path) -> dict[str, str]:
    """Returns an environment without anything of the user's: no AWS settings, no proxies, files in `home`."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        **forking.LOCALE,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
