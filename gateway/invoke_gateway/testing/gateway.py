"""Defines the gateway of a test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from invoke_gateway.admin_client import AdminClient
from invoke_gateway.secret_source import read_token
from invoke_gateway.testing.events import EventsNotSettled, describe, drop_all, has_work
from invoke_gateway.testing.fault import Fault
from invoke_gateway.testing.hold import Hold
from invoke_gateway.testing.process import POLL_SECONDS, GatewayChild, GatewayNotStarted
from invoke_gateway.testing.settings import make_settings

LONGEST_HOLD = 3600.0  # seconds; the longest that a gateway keeps one
DEFAULT_ACCOUNT = "000000000000"
_MOST_FUNCTIONS = 10  # are named in an error
_RENAMED = {"operations_url": "admin_url"}


class InvokeGateway:
    """Controls a running gateway for a test."""

    def __init__(self, process: GatewayChild, settings: Mapping[str, Any]) -> None:
        self._process = process
        source = settings.get("admin_token")
        self._admin = AdminClient(process.addresses.admin, token=read_token(source) if source else None)
        self._region = str(settings.get("region", "us-east-1"))
        self._takes_faults = bool(settings["faults"])
        self._keeps_events = settings["async"].get("mode") != "forward"

    def __repr__(self) -> str:
        return f"<InvokeGateway {self.url} {self._process!r}>"

    def __getattr__(self, name: str) -> NoReturn:
        new = _RENAMED.get(name)
        raise AttributeError(
            f"{name} was renamed: use {new}." if new else f"{type(self).__name__} has no attribute {name}",
            name=name,
            obj=self,
        )

    @property
    def url(self) -> str:
        """Returns the endpoint URL for SDKs."""
        return self._process.addresses.url

    @property
    def admin_url(self) -> str:
        """Returns the URL of the admin listener: /limits, /metrics, /holds and the rest."""
        return f"http://{self._admin.address}"

    @property
    def client_settings(self) -> dict[str, str]:
        """Returns keyword arguments of `boto3.client("lambda", …)`: endpoint, region, and credentials without a
        meaning."""
        return {
            "endpoint_url": self.url,
            "region_name": self._region,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }

    @property
    def environment(self) -> dict[str, str]:
        """Returns the same as environment variables, for code that makes its own client with any of AWS's SDKs."""
        return {
            "AWS_ENDPOINT_URL_LAMBDA": self.url,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }

    @property
    def output(self) -> str:
        """Returns everything that the gateway has printed, for a test that fails."""
        return self._process.output

    def hold(
        self,
        function: str | None = None,
        slots: int = 1,
        seconds: float = LONGEST_HOLD,
        account: str | None = None,
    ) -> Hold:
        """Holds slots of a function, or of the account's unreserved pool, so that calls which need them are throttled.

        All of them are taken, or none. Raises `HoldFailed` with the gateway's text where there is no room.
        """
        wanted = {"function": function, "slots": slots, "seconds": seconds, **({"account": account} if account else {})}
        return Hold(self._admin, self._admin.take_hold(wanted))

    def hold_all(self, function: str | None = None, account: str | None = None) -> Hold:
        """Holds every slot that is free now, so that the next call is throttled.

        Raises `HoldFailed` where none is free: then the next call is throttled anyway.
        """
        lane = self._lane(function, account)
        return self.hold(function, max(1, lane["ceiling"] - lane["in_flight"]), account=account)

    def fault(
        self,
        function: str | None,
        *steps: Mapping[str, Any],
        seed: int = 0,
        loop: bool = False,
        account: str | None = None,
    ) -> Fault:
        """Applies one step each to the next calls of a function, or of all functions (`None`).

        Steps are mappings, in order: `{"pass": 1}`, `{"error": "EC2ThrottledException", "repeat": 2}` and so on
        (docs/guides/faults.md). The script replaces the one in force for the same function. Raises `FaultFailed` with
        the gateway's text where a step is invalid.
        """
        wanted = {"function": function, "steps": steps, "seed": seed, "loop": loop}
        return Fault(self._admin, self._admin.make_script(wanted | ({"account": account} if account else {})))

    def limits(self) -> dict[str, Any]:
        """Returns the document of /limits: of each account the limits in force, the slots in use, and the refusals.

        Refusals are counted since the gateway started, which may have been before this test.
        """
        return self._admin.fetch_limits()

    def in_flight(self, function: str | None = None, account: str | None = None) -> int:
        """Returns the slots in use now, held ones included: of a function, or of the account as a whole."""
        part = self._account(account)
        rows = [row for row in part["functions"] if row["function"] == function]
        if function is not None:
            return int(rows[0]["in_flight"]) if rows else 0
        return int(part["in_flight"])

    def settle_events(self, timeout: float = 10.0) -> None:
        """Waits until all events (asynchronous invocations) have ended and every outcome is delivered.

        An event whose delivery has failed for the last time is not waited for. Raises `EventsNotSettled` after
        `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while has_work(queue := self._admin.fetch_queue(_MOST_FUNCTIONS)):
            if time.monotonic() > deadline:
                raise EventsNotSettled(f"after {timeout:g} seconds there are still events: {describe(queue)}")
            time.sleep(POLL_SECONDS)

    def reset(self) -> None:
        """Drops the events that wait, and ends all holds and fault scripts."""
        holds = self._admin.list_holds()
        if self._keeps_events:  # before the holds end: events may wait for those slots
            drop_all(self._admin)
        for hold in holds:
            self._admin.release_hold(hold["id"])
        if self._takes_faults:
            self._admin.end_all_scripts()

    def check(self) -> None:
        """Raises `GatewayNotStarted` where the gateway has ended since."""
        if not self._process.is_running:
            raise GatewayNotStarted(f"invoke-gateway has ended before its time:\n{self.output}")

    def _account(self, account: str | None) -> dict[str, Any]:
        accounts: dict[str, dict[str, Any]] = {part["account"]: part for part in self.limits()["accounts"]}
        return accounts.get(account or DEFAULT_ACCOUNT, accounts[DEFAULT_ACCOUNT])

    def _lane(self, function: str | None, account: str | None) -> dict[str, Any]:
        part = self._account(account)
        reserved = (row for row in part["functions"] if row["function"] == function and row["reserved"])
        lane: dict[str, Any] = next(reserved, part["unreserved"])
        return lane


class GatewayFactory(Protocol):
    """Types the fixture `make_invoke_gateway`."""

    def __call__(
        self,
        *,
        backend: str | Mapping[str, Any] = ...,
        concurrent_executions: int = ...,
        reserve: Mapping[str, int] = ...,
        async_: Mapping[str, Any] = ...,
        **settings: Any,
    ) -> InvokeGateway: ...


@contextmanager
def running_gateway(
    *,
    backend: str | Mapping[str, Any] = "demo",
    concurrent_executions: int | None = None,
    reserve: Mapping[str, int] | None = None,
    async_: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[InvokeGateway]:
    """Runs a gateway on free ports for the length of the block. Raises `GatewayNotStarted`.

    backend: a URL, `demo`, or the settings under that key
    concurrent_executions, reserve: limits of the default account (slots; slots by function)
    async_: the settings under `async`, a word that Python keeps for itself
    settings: all further keys of the settings file
    """
    complete = make_settings(backend, concurrent_executions, reserve, async_, **settings)
    process = GatewayChild(complete)
    try:
        yield InvokeGateway(process, complete)
    finally:
        process.stop()
