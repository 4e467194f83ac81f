"""Follows the backend's own concurrency settings, for changes that do not pass the gateway, such as CloudFormation's.

The backend's values stand below those of the settings and of the operations, value by value. They are read again, and
not kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from ..backend_errors import BackendError
from ..invocation import Function
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import parse_name
from ..policy.control.rules import AccountSlots, check_provisioned, check_reservation, is_version
from ..policy.control.state import (
    NOTHING,
    ControlState,
    EventInvokeConfig,
    FunctionControl,
    ProvisionedConfig,
    overlay,
)
from ..policy.events.destination_arn import UnreachableDestination
from .base import BackendReply
from .documents import read_object
from .existence import BackendHasNoAnswer, Existence
from .followed import Followed
from .parts import LATEST

log = logging.getLogger("invoke_gateway")

CAUSE = "backend_not_followed"
_RETRY_SECONDS = 5.0
_PAGE = 50
_MOST_PAGES = 20_000
_NO_OPERATION = (404, 405, 501)

Row = Mapping[str, Any]


class NotFollowed(Exception):
    """Reports that the backend's settings could not be read. The text has the operation and the cause."""


class BackendFollower:
    """Reads the backend's settings, once or at intervals.

    accounts: returns the accounts of the settings
    make_headers: makes the headers of a request for an account
    check_destination: returns why outcomes of events cannot be delivered to an ARN
    make_slots: divides the slots of an account by a state
    own: returns what the operations have set
    put_in_force: called when `followed` has changed
    degraded: its cause `backend_not_followed` is kept up to date
    interval_seconds: time between two readings; None: read once
    """

    def __init__(
        self,
        followed: Followed,
        existence: Existence,
        *,
        accounts: Callable[[], Iterable[str]],
        default_account: str,
        make_headers: Callable[[str], Mapping[bytes, bytes]],
        check_destination: Callable[[str], UnreachableDestination | None],
        make_slots: Callable[[str, ControlState], AccountSlots],
        own: Callable[[], ControlState],
        put_in_force: Callable[[], Awaitable[None]],
        degraded: dict[str, bool],
        interval_seconds: float | None,
    ) -> None:
        self.followed = followed
        self._existence = existence
        self._accounts = accounts
        self._default_account = default_account
        self._make_headers = make_headers
        self._check_destination = check_destination
        self._make_slots = make_slots
        self._own = own
        self._put_in_force = put_in_force
        self._degraded = degraded
        self._interval = interval_seconds
        self._logged: set[str] = set()
        self._degraded[CAUSE] = False

    async def run(self) -> None:
        """Reads until all is read once, and then at intervals, if there are any."""
        while True:
            is_read = await self.read()
            if is_read and self._interval is None:
                return
            await asyncio.sleep(self._interval if is_read and self._interval is not None else _RETRY_SECONDS)

    async def read(self) -> bool:
        """Reads everything and puts it in force. Returns False where the backend's settings could not be read: then
        those that were read before stay in force."""
        problems: list[str] = []
        try:
            found = await self._read_accounts()
        except NotFollowed as error:
            text = "Values that were read before stay in force."
            self._note([f"The backend's concurrency settings are not followed: {error}. {text}"])
            return False
        fitting = self._fit(found, problems)
        self._note(problems)
        if fitting.accounts != self.followed.state.accounts:
            self.followed.state = fitting
            await self._put_in_force()
        return True

    def _note(self, problems: list[str]) -> None:
        """Logs each problem that was not there before."""
        for problem in problems:
            if problem not in self._logged:
                log.warning("%s", problem)
        if self._logged and not problems:
            log.info("the backend's concurrency settings are followed again")
        self._logged = set(problems)
        self._degraded[CAUSE] = bool(problems)

    async def _read_accounts(self) -> dict[str, dict[str, FunctionControl]]:
        accounts = tuple(self._accounts())
        found = {}
        for account in accounts:
            reader = _Reader(self._existence, self._make_headers(account), self._check_destination)
            functions = {}
            async for name, owner in reader.list_functions():
                # A backend that has one account for all callers lists the same functions for each.
                if owner == account or (account == self._default_account and owner not in accounts):
                    function = await reader.read_function(name)
                    if function != NOTHING:
                        functions[name] = function
            if functions:
                found[account] = functions
        return found

    def _fit(self, found: Mapping[str, Mapping[str, FunctionControl]], problems: list[str]) -> ControlState:
        """Returns the values that fit into the accounts, beside those of the operations. A backend need not check."""
        state = ControlState(self.followed.state.version + 1)
        for account, functions in found.items():
            for name, function in sorted(functions.items()):
                refused = self._check(account, name, function, state)
                if refused is not None:
                    text = refused.text.strip()
                    problems.append(f"The backend's slots for {name} of account {account} are not taken: {text}")
                taken = function if refused is None else FunctionControl(event_invoke=function.event_invoke)
                if taken != NOTHING:
                    state = state.with_function(account, name, taken)
        return state

    def _check(self, account: str, name: str, function: FunctionControl, others: ControlState) -> ControlRefusal | None:
        """Checks the slots of a function beside those of the operations, and of the functions before it."""
        own = self._own().function(account, name)
        slots = self._make_slots(account, overlay(self._own(), others))
        reserved, provisioned = function.reserved_concurrent_executions, function.provisioned_concurrent_executions
        if reserved is not None and slots.reservation(name) is None:
            return check_reservation(slots, name, reserved, provisioned + own.provisioned_concurrent_executions)
        if provisioned:
            return check_provisioned(slots, name, provisioned, own.provisioned_concurrent_executions)
        return None


class _Reader:
    """Reads the settings of one account."""

    def __init__(
        self,
        existence: Existence,
        headers: Mapping[bytes, bytes],
        check_destination: Callable[[str], UnreachableDestination | None],
    ) -> None:
        self._existence = existence
        self._headers = headers
        self._check_destination = check_destination

    async def list_functions(self) -> AsyncIterator[tuple[str, str | None]]:
        """Yields the name of each function, and the account in its ARN."""
        marker: str | None = None
        for _ in range(_MOST_PAGES):
            query = {"MaxItems": str(_PAGE), **({"Marker": marker} if marker else {})}
            reply = await self._ask("ListFunctions", "/2015-03-31/functions", query)
            if reply.status != 200:
                raise NotFollowed(f"it answered ListFunctions with status {reply.status}")
            document = read_object(reply.body)
            for row in _rows(document, "Functions"):
                if isinstance(row.get("FunctionName"), str):
                    yield row["FunctionName"], parse_name(str(row.get("FunctionArn", ""))).account
            marker = document.get("NextMarker")
            if not isinstance(marker, str) or not marker:
                return

    async def read_function(self, name: str) -> FunctionControl:
        path = f"functions/{quote(name, safe='')}"
        concurrency = await self._read("GetFunctionConcurrency", f"/2019-09-30/{path}/concurrency", {})
        configs = await self._read(
            "ListProvisionedConcurrencyConfigs", f"/2019-09-30/{path}/provisioned-concurrency", {"List": "ALL"}
        )
        rules = await self._read("ListFunctionEventInvokeConfigs", f"/2019-09-25/{path}/event-invoke-config/list", {})
        provisioned = {}
        for row in _rows(configs, "ProvisionedConcurrencyConfigs"):
            qualifier = _qualifier_of(row)
            requested = _number(row, "RequestedProvisionedConcurrentExecutions")
            if qualifier is not None and requested:
                provisioned[qualifier] = await self._make_provisioned(name, qualifier, requested, row)
        return FunctionControl(
            reserved_concurrent_executions=_number(concurrency, "ReservedConcurrentExecutions"),
            provisioned=provisioned,
            event_invoke={
                _qualifier_of(row) or LATEST: self._make_rules(row)
                for row in _rows(rules, "FunctionEventInvokeConfigs")
            },
        )

    async def _make_provisioned(self, name: str, qualifier: str, requested: int, row: Row) -> ProvisionedConfig:
        modified_at = _read_date(row.get("LastModified"))
        if is_version(qualifier):
            return ProvisionedConfig(requested, modified_at, qualifier)
        try:
            alias = await self._existence.find_alias(Function(name), qualifier, self._headers)
        except (BackendHasNoAnswer, BackendError):
            alias = None
        return ProvisionedConfig(requested, modified_at, None if alias is None else alias.version)

    def _make_rules(self, row: Row) -> EventInvokeConfig:
        config = row.get("DestinationConfig")
        destinations = config if isinstance(config, Mapping) else {}
        return EventInvokeConfig(
            _read_date(row.get("LastModified")),
            _number(row, "MaximumRetryAttempts"),
            _number(row, "MaximumEventAgeInSeconds"),
            self._find_destination(destinations.get("OnSuccess")),
            self._find_destination(destinations.get("OnFailure")),
        )

    def _find_destination(self, part: object) -> str | None:
        """Returns the ARN of a destination to which the gateway can deliver."""
        arn = part.get("Destination") if isinstance(part, Mapping) else None
        return arn if isinstance(arn, str) and arn and self._check_destination(arn) is None else None

    async def _read(self, operation: str, path: str, query: Mapping[str, str]) -> Row:
        """Returns the answer of an operation; nothing where the backend has no such operation, or no such function."""
        reply = await self._ask(operation, path, query)
        if reply.status == 200:
            return read_object(reply.body)
        if reply.status in _NO_OPERATION:
            return {}
        raise NotFollowed(f"it answered {operation} with status {reply.status}")

    async def _ask(self, operation: str, path: str, query: Mapping[str, str]) -> BackendReply:
        try:
            return await self._existence.ask(path, urlencode(query), self._headers)
        except BackendError as error:
            raise NotFollowed(f"{operation} failed ({error})") from error


def _rows(document: Row, name: str) -> list[Row]:
    rows = document.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _number(document: Row, name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _qualifier_of(row: Row) -> str | None:
    return parse_name(str(row.get("FunctionArn", ""))).qualifier


def _read_date(value: object) -> float:
    """Returns the seconds since the epoch of a date; 0 where it is none."""
    if isinstance(value, int | float):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return 0.0
