"""Runs a gateway as a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

START_TIMEOUT = 30.0  # seconds; an idle machine needs half of one
POLL_SECONDS = 0.01  # between two reads of a starting gateway's output

# The lines that `invoke_gateway.server` logs once both listeners accept connections, as text or as JSON.
INVOKE_API = re.compile(r'\bInvoke API on (https?://[^\s"]+)["\n]')
ADMIN = re.compile(r"\badmin on http://(\S+) ")


class GatewayNotStarted(Exception):
    """Reports a gateway that did not start; the text is the gateway's output, with the cure."""


class Addresses(NamedTuple):
    """Names the listeners of a gateway: the URL of the Invoke API, and host:port of the admin listener."""

    url: str
    admin: str


class GatewayChild:
    """Runs a gateway with `settings`, the content of a settings file. Raises `GatewayNotStarted`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="invoke-gateway-")
        self._log = Path(self._folder.name, "log")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start(settings)
            self.addresses = self._wait_for_addresses(self._process)
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        return f"<GatewayChild pid={self.pid} {'running' if self.is_running else 'ended'}>"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """Returns everything that the process has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """Ends the process at once. May be called twice."""
        process = self._process
        if process is not None:
            process.kill()  # nothing when it has ended already
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._folder.cleanup()

    def _start(self, settings: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        content = json.dumps(_with_addresses_logged(settings), default=os.fspath)
        Path(self._folder.name, "settings.json").write_text(content)
        # -P: a folder named `invoke_gateway` in the directory of the tests is not this package.
        command = [sys.executable, "-P", "-m", "invoke_gateway.testing.child", self._folder.name]
        # A warning inside the gateway must not fail a user's tests.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        with self._log.open("wb") as log:
            return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def _wait_for_addresses(self, process: subprocess.Popen[bytes]) -> Addresses:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            is_running = process.poll() is None  # before reading: after its end the output is complete
            output = self.output
            url, admin = INVOKE_API.search(output), ADMIN.search(output)
            if not is_running:
                raise GatewayNotStarted(f"invoke-gateway ended with status {process.returncode}:\n{output}")
            if url and admin:
                return Addresses(url[1], admin[1])
            time.sleep(POLL_SECONDS)
        raise GatewayNotStarted(f"invoke-gateway has not started within {START_TIMEOUT:g} seconds:\n{output}")


def _with_addresses_logged(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns settings whose log has the addresses: a higher `log.level` would leave them out."""
    log = settings.get("log")
    if isinstance(log, Mapping) and log.get("level") in ("warning", "error"):
        return {**settings, "log": {**log, "level": "info"}}
    return settings
