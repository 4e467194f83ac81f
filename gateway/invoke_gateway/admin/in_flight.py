"""Lists the calls that hold slots, and releases the slots of a dead gateway.

A `HolderSource` returns reports (`counters/holders.py`), which are plain data. `merge` makes one document of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..counters.holders import Report
from .json_documents import (
    ACCOUNT,
    FUNCTION,
    FUNCTION_WORDS,
    MOST_REPEATED,
    BadDocument,
    Keys,
    answer_error,
    answer_json,
    read_values,
)

USUAL_ROWS = 100
MOST_ROWS = 1000

_KEYS: Keys = {
    "function": (FUNCTION, f"{FUNCTION_WORDS}; leave it out for all functions"),
    "account": (ACCOUNT[0], "twelve digits; leave it out for all accounts"),
    "most": (str, "a number"),
}


_RELEASE_KEYS: Keys = {
    "account": _KEYS["account"],
    "force": (Literal["true", "false"], "true or false"),
}


class NotReleased(Exception):
    """Raised where no slot was released; the text has the cause and the action."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class InFlightQuery(NamedTuple):
    """Selects slots: of one function or all, of one account or all; `most` bounds the rows."""

    function: str | None = None
    account: str | None = None
    most: int = USUAL_ROWS


class HolderSource(Protocol):
    """Reports the holders of slots, and releases the slots of a dead gateway."""

    async def report(self, query: InFlightQuery) -> tuple[list[Report], str | None]:
        """Returns the known reports, and the problem that hides others. Of two reports of one gateway and account, the
        later one is newer."""

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        """Releases the slots of `gateway` and its workers, of one account or all, and report them. Raises
        `NotReleased`."""


def read_in_flight_query(parameters: Mapping[str, str]) -> InFlightQuery:
    """Parses a query string; an empty value counts as absent. Raises `BadDocument`."""
    values = read_values({key: value for key, value in parameters.items() if value}, _KEYS, "The query")
    most = values.pop("most", str(USUAL_ROWS))
    if not (most.isascii() and most.isdigit() and len(most) <= len(str(MOST_ROWS)) and 1 <= int(most) <= MOST_ROWS):
        raise BadDocument(f"most must be a number of rows from 1 to {MOST_ROWS}.")
    return InFlightQuery(**values, most=int(most))


def read_release(parameters: Mapping[str, str]) -> tuple[str | None, bool]:
    """Parses the account and `force` out of a query string. Raises `BadDocument`."""
    values = read_values({key: value for key, value in parameters.items() if value}, _RELEASE_KEYS, "The query")
    return values.get("account"), values.get("force") == "true"


def merge(reports: Iterable[Report], most: int) -> dict[str, Any]:
    """Makes the document: the `most` oldest rows, the number of slots left out, and the slots of each gateway.

    Of several reports of one gateway and account, the last one counts.
    """
    known: dict[tuple[str | None, str], Report] = {}
    for report in reports:
        key = (report.gateway, report.account)
        before = known.get(key)
        if before is not None and report.seconds_left is None:
            report = msgspec.structs.replace(report, seconds_left=before.seconds_left)
        known[key] = report
    holding = [report for report in known.values() if report.slots]
    rows = sorted(
        (_split(report.gateway) | row for report in holding for row in report.rows),
        key=lambda row: -float(row["age_seconds"]),
    )[:most]
    slots = sum(report.slots for report in holding)
    return {
        "holders": rows,
        "left_out": max(0, slots - sum(row["slots"] for row in rows)),
        "gateways": [_describe(report) for report in sorted(holding, key=lambda one: (one.gateway or "", one.account))],
    }


def _describe(report: Report) -> dict[str, Any]:
    return _split(report.gateway) | {
        "account": report.account,
        "slots": report.slots,
        "listed_seconds_ago": report.listed_seconds_ago,
        "seconds_left": report.seconds_left,
        "is_alive": report.is_alive,
    }


def _describe_released(report: Report) -> dict[str, Any]:
    return _split(report.gateway) | {"account": report.account, "slots": report.slots, "is_alive": report.is_alive}


def _split(id: str | None) -> dict[str, Any]:
    """Splits a process id into the gateway that users start, and its worker, if any."""
    gateway, _, worker = (id or "").partition(".")
    return {"gateway": gateway or None, "worker": worker or None}


async def _answer_renamed(request: Request) -> Response:
    new = request.url.path.replace("/holders", "/in-flight", 1)
    return answer_error(f"/holders was renamed: use {new[:MOST_REPEATED]}.", 410)


RENAMED_ROUTES = [
    Route("/holders", _answer_renamed),
    Route("/holders/{gateway}", _answer_renamed, methods=["GET", "DELETE"]),
]


class InFlightEndpoint:
    def __init__(self, source: HolderSource) -> None:
        self._source = source

    def routes(self) -> list[Route]:
        return [
            Route("/in-flight", self.show),
            Route("/in-flight/{gateway}", self.release, methods=["DELETE"]),
            *RENAMED_ROUTES,
        ]

    async def show(self, request: Request) -> Response:
        query = read_in_flight_query(request.query_params)
        reports, trouble = await self._source.report(query)
        return answer_json(merge(reports, query.most) | {"trouble": trouble})

    async def release(self, request: Request) -> Response:
        gateway = request.path_params["gateway"]
        account, force = read_release(request.query_params)
        try:
            released = await self._source.release(gateway, account, force=force)
        except NotReleased as error:
            return answer_error(str(error), error.status)
        return answer_json({"gateway": gateway, "released": [_describe_released(report) for report in released]})
