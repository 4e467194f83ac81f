"""Starts `invoke-gateway serve` as a process whose streams, limits and surroundings a test chooses."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from . import forking
from .processes import bare_environment, wait_until
from .sockets import LOOPBACK, fetch

# As `prefix`: the program is executed, not forked (tests/support/forking.py).
EXECUTED = ("env",)
END_SECONDS = 60.0  # for the end of a process on a busy machine


class Served:
    """Runs a gateway on free ports. `prefix`: a command that starts it, such as `unshare`. `streams`: those of Popen;
    without other streams its log is the file `log`."""

    def __init__(
        self, folder: Path, *flags: str, prefix: Sequence[str] = (), streams: dict[str, Any] | None = None, **more: Any
    ) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.log_file = folder / "log"
        self.log_file.touch()
        self._values = {"listen": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0", "backend": {"url": "demo"}, **more}
        self.write()
        command = [*prefix, sys.executable, "-m", "invoke_gateway", "serve", "--config", str(self.file), *flags]
        with self.log_file.open("wb") as log:
            given = {"stdin": subprocess.DEVNULL, "stderr": log, **(streams or {})}
            self.process = forking.Popen(command, cwd=folder, env=bare_environment(folder), **given)
        self.port = self.admin = 0

    def write(self, **changes: Any) -> None:
        """Rewrites the settings file, changed."""
        self._values |= changes
        self.file.write_text(yaml.safe_dump(self._values))

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def until_logged(self, pattern: str, timeout: float = END_SECONDS) -> re.Match[str]:
        """Waits for a line in its log."""

        def is_there() -> bool:
            assert self.process.poll() is None or re.search(pattern, self.log), f"it has ended:\n{self.log}"
            return re.search(pattern, self.log) is not None

        wait_until(is_there, f"{pattern!r} in the log", timeout=timeout)
        found = re.search(pattern, self.log)
        assert found is not None
        return found

    def until_up(self) -> Served:
        self.port = int(self.until_logged(r"Invoke API on https?://127\.0\.0\.1:(\d+)")[1])
        self.admin = int(self.until_logged(r"admin on http://127\.0\.0\.1:(\d+)")[1])
        return self

    def metric(self, name: str) -> float:
        """Returns a sample of /metrics, named with its labels; -1 without one."""
        text = fetch(self.admin, "/metrics").body.decode()
        found = re.search(rf"^invoke_gateway_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else -1.0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, waits for the end, and returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def served(folder: Path, *flags: str, **more: Any) -> Iterator[Served]:
    """Runs the process for the length of the block."""
    process = Served(folder, *flags, **more)
    try:
        yield process
    finally:
        process.end()
