"""Serves `/status`: the state of one gateway on one screen, with what to do about each problem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from time import time
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..counters.base import SharedState, SlotCounts
from ..policy.caller_limits import CALLER_CONCURRENCY
from ..policy.counter_names import split_counter
from ..policy.limits import Limits
from ..queue.base import StoreError
from ..queue.outcomes.history import HistoryFilter
from ..telemetry.reload_state import ReloadState
from .json_documents import answer_json
from .live.document import LiveSnapshot
from .problems import describe_problems
from .queue import QueueView
from .queue_documents import describe_ended, describe_queue, in_thread
from .readiness import Readiness

NEARLY_FULL = 0.8
"""The share of a limit in use from which the limit is listed, as on the live page."""

MOST_FULL = 20
MOST_REFUSING = 10

Row = dict[str, Any]


class Usage(Protocol):
    """Reads how much of a limit is in use."""

    @property
    def in_use(self) -> int: ...

    @property
    def ceiling(self) -> int: ...


class Snapshots(Protocol):
    """Takes snapshots of what the live page shows."""

    def take_snapshot(self) -> LiveSnapshot: ...


class StatusEndpoint:
    """Serves `/status` of one process, or of several workers.

    view: takes the snapshot of limits, refusals and the gateway's facts
    readiness: makes the document of /readyz
    counters_store: the store of shared counters, without credentials; None for counters in memory
    buffers: the bytes of payload in memory
    queue: None where events go to the backend
    refresh: brings the state of other processes up to date
    now: returns seconds since the epoch
    """

    def __init__(
        self,
        view: Snapshots,
        readiness: Readiness,
        *,
        reload_state: ReloadState,
        counters_store: str | None,
        shared: SharedState | None,
        buffers: Usage,
        queue: QueueView | None,
        refresh: Callable[[], Awaitable[None]] | None = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._view = view
        self._readiness = readiness
        self._reload_state = reload_state
        self._counters_store = counters_store
        self._shared = shared
        self._buffers = buffers
        self._queue = queue
        self._refresh = refresh
        self._now = now

    def routes(self) -> list[Route]:
        return [Route("/status", self.show)]

    async def show(self, request: Request) -> Response:
        return answer_json(await self.describe(), headers={"cache-control": "no-store"})

    async def describe(self) -> Row:
        """Makes the document of docs/guides/operating.md."""
        if self._refresh is not None:
            await self._refresh()
        if self._shared is not None:
            await self._shared.read_sums()
        ready = await self._readiness.describe()
        queue = await self._describe_queue()
        snapshot = self._view.take_snapshot()
        gateway: Any = snapshot.gateway
        facts = gateway["gateway"]
        full = await in_thread(list_nearly_full, snapshot.limits, snapshot.levels)
        full += self._list_buffers()
        problems = self._find_problems(gateway, ready, queue)
        return {
            "version": facts["version"],
            "gateway": facts["name"],
            "listen": ready["listen"],
            "started_at": facts["started_at"],
            "uptime_seconds": round(max(self._now() - facts["started_at"], 0.0), 3),
            "ready": ready["ready"],
            "why": ready.get("why"),
            "problems": problems,
            "backend": {"url": facts["backend_url"], "state": ready["backend"], "error": ready.get("backend_error")},
            "counters": {
                "store": self._counters_store,
                **({} if self._shared is None else self._shared.describe()),
            },
            "settings": {
                "loaded_at": round(self._reload_state.loaded_at, 3),
                "error": self._reload_state.error,
                "restart_needed": list(self._reload_state.restart_needed),
            },
            "nearly_full": full[:MOST_FULL],
            "nearly_full_left_out": max(0, len(full) - MOST_FULL),
            "refusing_now": [snapshot.samples.describe(episode) for episode in snapshot.going_on[:MOST_REFUSING]],
            "refusing_now_left_out": max(0, len(snapshot.going_on) - MOST_REFUSING),
            "queue": queue,
            "holds": len(gateway["holds"]) + gateway["holds_left_out"],
            "fault_scripts": len(gateway["fault_scripts"] or ()) + gateway["fault_scripts_left_out"],
            "workers": gateway["workers"],
        }

    def _list_buffers(self) -> list[Row]:
        in_use, ceiling = self._buffers.in_use, self._buffers.ceiling
        if not ceiling or in_use < NEARLY_FULL * ceiling:
            return []
        return [{"limit": "buffer_bytes", "account": None, "function": None, "in_use": in_use, "ceiling": ceiling}]

    async def _describe_queue(self) -> Row | None:
        """Describes the queue without its functions. A store that does not reply is its `trouble`."""
        queue = self._queue
        if queue is None:
            return None
        try:
            state = await queue.read_state()
            ended = await queue.read_history(HistoryFilter(most=1))
            failed = await queue.read_history(HistoryFilter(only_failed=True, most=1))
        except StoreError as error:
            return {"store": queue.store, "trouble": str(error)}
        now = queue.now()
        document: Row = await in_thread(describe_queue, state.depths, state.held, 0, now)
        del document["functions"], document["left_out"]
        return {
            "store": queue.store,
            **document,
            "last_ended": describe_ended(ended[0], now) if ended else None,
            "last_failed": describe_ended(failed[0], now) if failed else None,
            "trouble": state.trouble,
        }

    def _find_problems(self, gateway: Row, ready: Row, queue: Row | None) -> list[Row]:
        causes = {problem["cause"] for problem in gateway["problems"]}
        trouble = self._shared.trouble if self._shared is not None else None
        details: dict[str, str | None] = {problem["cause"]: problem["detail"] for problem in gateway["problems"]}
        details |= dict.fromkeys(("store_unavailable", "store_recovering"), trouble)
        if ready["backend"] == "down":
            causes.add("backend_down")
            details["backend_down"] = ready["backend_error"]
        if queue is not None:
            # These two are found at a scrape, and now: what was found now counts.
            causes -= {"event_store", "events_held"}
            if queue["trouble"] is not None:
                causes.add("event_store")
                details["event_store"] = queue["trouble"]
            if queue.get("held"):
                causes.add("events_held")
                details["events_held"] = f"{queue['held']} held"
            if queue.get("undelivered"):
                causes.add("events_undelivered")
                details["events_undelivered"] = f"{queue['undelivered']} undelivered"
        if self._reload_state.error is not None:
            details["settings_invalid"] = str(self._reload_state.error["problem"])
        details["restart_needed"] = ", ".join(self._reload_state.restart_needed) or None
        if trouble is not None and not causes & {"store_unavailable", "store_recovering"}:
            cause = "store_unavailable" if gateway["workers"] is None else "workers"
            causes.add(cause)
            details[cause] = trouble
        if not ready["ready"]:
            self._add_not_ready(causes, details, ready["why"])
        return describe_problems(causes, details)

    def _add_not_ready(self, causes: set[str], details: dict[str, str | None], why: str) -> None:
        """Adds the reason of a gateway that is not ready, where no other cause has the reason."""
        if self._readiness.is_draining:
            causes.add("draining")
        elif why not in details.values():
            causes.add("not_ready")
            details["not_ready"] = why


def list_nearly_full(limits: Limits, levels: SlotCounts) -> list[Row]:
    """Lists the limits of slots of which at least `NEARLY_FULL` is in use, the fullest first. A limit of 0 is off."""
    rows = list(_list_limits(limits, levels))
    rows.sort(key=lambda row: (-row["in_use"] / row["ceiling"], -row["ceiling"], row["account"], row["function"] or ""))
    return rows


def _list_limits(limits: Limits, levels: SlotCounts) -> Iterator[Row]:
    accounts = {account.account: account for account in limits.all()}

    def is_near(in_use: int, ceiling: int) -> bool:
        return ceiling > 0 and in_use >= NEARLY_FULL * ceiling

    for name, account in accounts.items():
        for limit, counter, ceiling in (
            ("concurrent_executions", account.account_counter, account.concurrent_executions),
            ("unreserved_concurrent_executions", account.pool_counter, account.unreserved_concurrent_executions),
        ):
            if is_near(in_use := levels.in_use(counter), ceiling):
                yield {"limit": limit, "account": name, "function": None, "in_use": in_use, "ceiling": ceiling}
        if account.callers is not None:
            for caller, counter, ceiling in account.callers.list_ceilings(levels.in_use):
                if is_near(in_use := levels.in_use(counter), ceiling):
                    row = {"limit": CALLER_CONCURRENCY, "account": name, "function": None, "caller": caller}
                    yield row | {"in_use": in_use, "ceiling": ceiling}
    for counter, in_use in levels.counts().items():
        name, function = split_counter(counter)
        if function is None or name not in accounts:
            continue
        of = accounts[name].functions.get(function)
        reserved = of.reserved_concurrent_executions if of is not None else None
        if reserved is not None and is_near(in_use, reserved):
            yield {
                "limit": "reserved_concurrent_executions",
                "account": name,
                "function": function,
                "in_use": in_use,
                "ceiling": reserved,
            }
