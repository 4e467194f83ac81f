"""Keeps the last events that ended here, with their end. An ended event is no longer in the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from ...policy.events.event_rules import Condition
from ...policy.payloads.json_members import find_string
from ..event import Event

MOST_ENDED = 100  # that succeeded, and as many that did not, so that failures outlast a flood of successes
_MOST_TEXT = 300  # characters of an error
_MOST_READ = 4096  # bytes of a function's answer that are searched for its error

End = Literal["succeeded", "failed", "expired", "dropped", "undelivered"]
ENDS: tuple[End, ...] = ("succeeded", "failed", "expired", "dropped", "undelivered")

Dropped = Literal["DroppedByHand"]
DROPPED: Dropped = "DroppedByHand"
"""Names the condition of an event that an operator drops before its end."""

_ENDS: dict[str, End] = {
    "Success": "succeeded",
    "RetriesExhausted": "failed",
    "EventAgeExceeded": "expired",
}

Delivery = Literal["pending", "delivered", "undelivered", "dropped"]


class EndedEvent(msgspec.Struct):
    """Describes an event that has ended. Times are seconds since the epoch.

    condition: as in a destination record, or `DROPPED`
    attempts: the runs of the function
    returns: how often the backend sent the event back, throttled or by an error of the system
    run_seconds: the duration of its last run; None where the function never ran here
    error_code, error: of the last failure; 200 is an error of the function
    delivery: the delivery of its outcome to targets; None where the function has no target for it
    function_error, answer: the function's last error and the beginning of its payload, of which `error` is read only
        when the event is shown
    """

    request_id: str
    account: str
    function: str
    condition: str
    attempts: int
    returns: int
    received_at: float
    ended_at: float
    run_seconds: float | None
    error_code: int
    error: str
    delivery: Delivery | None = None
    function_error: str = ""
    answer: bytes = b""

    @property
    def end(self) -> End:
        return "undelivered" if self.delivery == "undelivered" else _ENDS.get(self.condition, "dropped")


class HistoryFilter(NamedTuple):
    """Selects ended events; None selects all. With `only_failed` those that succeeded are left out."""

    request_id: str | None = None
    account: str | None = None
    function: str | None = None
    end: str | None = None
    only_failed: bool = False
    most: int = MOST_ENDED


class EndedEvents:
    """Keeps the last events that ended in this process, in bounded memory."""

    def __init__(self) -> None:
        self._succeeded: OrderedDict[tuple[str, float], EndedEvent] = OrderedDict()
        self._others: OrderedDict[tuple[str, float], EndedEvent] = OrderedDict()

    def add(self, event: Event, ended: EndedEvent) -> None:
        key = _key(event)
        self._succeeded.pop(key, None)
        self._others.pop(key, None)
        ring = self._succeeded if ended.end == "succeeded" else self._others
        ring[key] = ended
        if len(ring) > MOST_ENDED:
            ring.popitem(last=False)

    def add_delivery(self, event: Event, delivery: Delivery, now: float) -> None:
        """Records the delivery of an outcome. Of an event that ended elsewhere only an end as undelivered is recorded.

        now: seconds since the epoch
        """
        ended = self._succeeded.get(_key(event)) or self._others.get(_key(event))
        outcome = event.outcome
        if outcome is None or (ended is None and delivery != "undelivered"):
            return
        if ended is None or ended.delivery == "undelivered":  # then its error is that of the delivery
            at, seconds = (now, None) if ended is None else (ended.ended_at, ended.run_seconds)
            ended = describe_end(event, outcome.condition, outcome.error_code, outcome.error_message, at, seconds)
        ended.delivery = delivery
        if delivery == "undelivered":
            ended.ended_at, ended.error = now, outcome.problem[:_MOST_TEXT]
        self.add(event, ended)

    def newest_first(self, wanted: HistoryFilter) -> list[EndedEvent]:
        rows = list(reversed(self._others.values()))
        if not wanted.only_failed:
            rows += reversed(self._succeeded.values())
        chosen = select_newest(rows, wanted)
        for row in chosen:
            _read_error(row)
        return chosen


def select_newest(rows: Iterable[EndedEvent], wanted: HistoryFilter) -> list[EndedEvent]:
    """Returns the wanted rows, the newest first; rows of one time stay in their order."""
    chosen = [
        row
        for row in rows
        if wanted.request_id in (None, row.request_id)
        and wanted.account in (None, row.account)
        and wanted.function in (None, row.function)
        and wanted.end in (None, row.end)
    ]
    chosen.sort(key=lambda row: -row.ended_at)
    return chosen[: wanted.most]


def describe_end(
    event: Event,
    condition: Condition | Dropped,
    code: int,
    message: str,
    now: float,
    run_seconds: float | None = None,
) -> EndedEvent:
    """Describes the end of an event.

    code, message: as in a dead-letter message
    now: seconds since the epoch
    """
    is_success = condition == "Success"
    answer = None if is_success or message else event.answer or (event.outcome.answer if event.outcome else None)
    return EndedEvent(
        event.request_id,
        event.account,
        event.function,
        condition,
        event.runs + is_success,
        event.requeues,
        event.received_at,
        now,
        run_seconds,
        code,
        "" if is_success else message[:_MOST_TEXT],
        None,
        "" if answer is None else answer.function_error or "",
        b"" if answer is None else answer.payload[:_MOST_READ],
    )


def _key(event: Event) -> tuple[str, float]:
    """Returns a name of an event that lasts: the store's own changes with its claim, and the client chose the id."""
    return event.request_id, event.received_at


def _read_error(row: EndedEvent) -> None:
    """Reads the error of a function's answer, type and text, where the end has no message of its own."""
    if not row.error and row.function_error:
        kind = find_string(row.answer, (b"errorType",))
        text = find_string(row.answer, (b"errorMessage", b"message", b"error"))
        row.error = (": ".join(part for part in (kind, text) if part) or row.function_error)[:_MOST_TEXT]
        row.answer = b""
