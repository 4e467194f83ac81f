"""Starts the gateway under test, or calls one of the user's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from .judging.history import CallHistory
from .quotas import (
    CHANGED_FUNCTION,
    LIMITED_CALLER,
    LIMITED_FUNCTION,
    SPILLING_FUNCTION,
    AccountQuota,
    Unusable,
    VersionQuota,
    count_in_flight,
)
from .traffic.clients import CallRoute
from .wire import HostPort, HttpAnswer, WireConnection

START_SECONDS = 60.0
STOP_SECONDS = 15.0
PAUSE = 0.05
TAIL = 15  # lines of what a gateway printed that are shown when it has died

# Limits that are small enough to be reached by every seed; the reservation of 0 admits nothing.
OWN_ACCOUNTS = [
    AccountQuota(
        "000000000000",
        28,
        {"checkout": 5, "closed": 0, "prove-versions": 3, "prove-latest": 2, LIMITED_FUNCTION: 4},
        {
            "prove-versions": VersionQuota("7", 2, ("live",)),
            "prove-latest": VersionQuota(None, 1, ("blue",)),
            "prove-idle": VersionQuota("1", 2),
        },
        {LIMITED_FUNCTION: 2},
    ),
    AccountQuota("111122223333", 8, {"checkout": 3}),
]
OWN_TIMEOUT_SECONDS = 3.0

LOOPBACK = "127.0.0.1"
SERVE = (sys.executable, "-m", "invoke_gateway", "serve")
_LISTENING = re.compile(r"(Invoke API|admin) on http://127\.0\.0\.1:(\d+)")


class GatewayTarget(NamedTuple):
    """Names the gateway that is judged.

    timeout_seconds: its backend.timeout_seconds; `None` where unknown
    check: raises where it has died
    token: its admin token
    """

    invoke: HostPort
    admin: HostPort
    timeout_seconds: float | None
    check: Callable[[], None]
    token: str | None = None

    def route(self, history: CallHistory) -> CallRoute:
        return CallRoute(self.invoke, history)

    async def fetch_limits(self) -> dict[str, Any]:
        """Returns /limits. Raises `Silent`, or `Died`."""
        self.check()
        return await fetch_limits(self.admin, self.token)


async def fetch_limits(admin: HostPort, token: str | None = None) -> dict[str, Any]:
    """Returns /limits. Raises `Silent`."""
    try:
        answer = await get(admin, "/limits", token)
        if answer is not None and answer.status == 401:
            raise Silent(f"http://{admin}/limits needs the admin token: give --admin-token")
        limits = json.loads(answer.body) if answer is not None and answer.status == 200 else None
    except OSError as error:
        raise Silent(f"no gateway answers at {admin} ({error.strerror or error})") from None
    except ValueError:
        limits = None
    if not isinstance(limits, dict) or not isinstance(limits.get("accounts"), list):
        raise Silent(f"http://{admin}/limits does not answer as an admin listener: is this one?")
    return limits


async def get(admin: HostPort, path: str, token: str | None = None) -> HttpAnswer | None:
    """Returns the answer to a GET. Raises OSError; ValueError for what is not HTTP."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    async with WireConnection(admin) as connection:
        await connection.send(f"GET {path} HTTP/1.1\r\nHost: {admin}\r\n{authorization}\r\n".encode())
        return await connection.read_answer()


class Silent(Unusable):
    """Nothing answers as a gateway's admin listener."""


class Died(Exception):
    """The gateway that was started has ended by itself, or never came up."""


def write_settings(accounts: list[AccountQuota], backend_url: str, timeout_seconds: float) -> dict[str, Any]:
    """Returns the settings of a gateway with these limits and free ports. Rates are off: they would refuse before
    the slots."""
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "backend": {"url": backend_url, "timeout_seconds": timeout_seconds},
        "accounts": {
            "default" if number == 0 else account.account: {
                "concurrent_executions": account.concurrent_executions,
                "unreserved_floor": 0,
                "requests_per_second": "off",
                "functions": _write_functions(account),
            }
            for number, account in enumerate(accounts)
        },
        "callers": _write_callers(accounts),
        "control": {"check_existence": False},
        "drain_seconds": 1,
    }


def _write_callers(accounts: list[AccountQuota]) -> dict[str, dict[str, int]]:
    slots = [slots for account in accounts for slots in account.callers.values()]
    return {LIMITED_CALLER: {"concurrent_executions": slots[0]}} if slots else {}


def _write_functions(account: AccountQuota) -> dict[str, dict[str, Any]]:
    names = (CHANGED_FUNCTION, SPILLING_FUNCTION, *account.reservations, *account.provisioned)
    functions: dict[str, dict[str, Any]] = {name: {"requests_per_second": "off"} for name in names}
    for name, slots in account.reservations.items():
        functions[name]["reserved_concurrent_executions"] = slots
    for name, version in account.provisioned.items():
        qualifier = next(iter(version.aliases), version.version)
        named = {} if version.version is None else {"version": version.version}
        slots_of = {qualifier: version.slots if qualifier == version.version else {"slots": version.slots, **named}}
        functions[name]["provisioned_concurrent_executions"] = slots_of
    return functions


class GatewayProcess:
    """A gateway process. Its settings and what it prints lie in `folder`."""

    def __init__(self, settings: dict[str, Any], folder: Path, serve: Sequence[str] = SERVE) -> None:
        config, self._log = folder / "gateway.json", folder / "log"
        config.write_text(json.dumps(settings))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INVOKE_GATEWAY_")}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*serve, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; we end it ourselves
            )

    def check(self) -> None:
        """Raises `Died` with the last lines that it printed."""
        if self._process.poll() is not None:
            tail = "\n".join(self._printed().splitlines()[-TAIL:])
            raise Died(f"the gateway has ended with status {self._process.returncode}:\n{tail}")

    def find_listeners(self) -> tuple[HostPort, HostPort] | None:
        """Returns the addresses of Invoke API and admin listener, once the gateway has printed them."""
        ports = dict(_LISTENING.findall(self._printed()))
        if len(ports) < 2:
            return None
        return HostPort(LOOPBACK, int(ports["Invoke API"])), HostPort(LOOPBACK, int(ports["admin"]))

    async def wait_for_listeners(self) -> tuple[HostPort, HostPort]:
        """Raises `Died` where it ends, or takes too long."""
        deadline = monotonic() + START_SECONDS
        while (listeners := self.find_listeners()) is None:
            self.check()
            if monotonic() > deadline:
                raise Died(f"the gateway does not listen after {START_SECONDS:g} s")
            await asyncio.sleep(PAUSE)
        return listeners

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _printed(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self, seconds: float) -> int | None:
        """Sends SIGTERM. Returns the exit status, or `None` where the gateway still runs after `seconds`."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def started(
    backend_url: str, accounts: list[AccountQuota], timeout_seconds: float
) -> AsyncIterator[GatewayTarget]:
    """Starts a gateway of our own. Raises `Died`."""
    with tempfile.TemporaryDirectory(prefix="invoke-gateway-prove-") as folder:
        process = GatewayProcess(write_settings(accounts, backend_url, timeout_seconds), Path(folder))
        try:
            yield GatewayTarget(*await process.wait_for_listeners(), timeout_seconds, process.check)
        finally:
            await asyncio.to_thread(process.stop)


def find_reason_to_wait(limits: dict[str, Any]) -> str | None:
    """Returns why a gateway of the user's cannot be judged now."""
    if limits.get("draining"):
        return "the gateway is draining: start it again"
    in_flight = count_in_flight(limits)
    if in_flight:
        return (
            f"{in_flight} slots of the gateway are in flight or held: no other client may use it during the proof, "
            "because their calls look like violations"
        )
    return None
