"""Lists the metrics of asynchronous invocations, with the meanings of CloudWatch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, get_args

from ..policy.events.event_rules import Condition
from .event_totals import EventTotals
from .exposition import Family, counter, gauge, histogram

_BY_FUNCTION = ("account", "function")
_CAUSES = ("error", "system", "throttle")
_DROPS = [condition for condition in get_args(Condition) if condition != "Success"]
_DESTINATIONS = ("on_failure", "on_success")


class EventDepths(Protocol):
    """Reads the depths of the queue. Exactly the gateways on one queue have the name `store` in common."""

    store: str

    def rows(self) -> Iterable[tuple[tuple[str, str, str], int]]:
        """Returns the number of events by account, label and state."""

    def oldest(self) -> Iterable[tuple[tuple[str], float]]:
        """Returns the age of each account's oldest event that is still to be run (seconds); 0 without one."""


class Events(NamedTuple):
    totals: EventTotals
    levels: EventDepths


def list_events(events: Events) -> Iterator[Family]:
    """Lists the metrics. A labelled function has zeros from its first event on, because Prometheus cannot see the rise
    of a series that begins at 1."""
    totals, levels = events
    known = list(totals.received_events)
    yield counter(
        "async_events_received",
        "Events that were queued and answered with 202 (CloudWatch: AsyncEventsReceived).",
        _BY_FUNCTION,
        list(totals.received_events.items()),
    )
    yield counter(
        "async_events_dropped",
        "Events that ended without a successful run, by condition, also where a dead-letter queue or a destination"
        " received them (CloudWatch: AsyncEventsDropped, RecursiveInvocationsDropped).",
        ("account", "condition", "function"),
        [
            ((account, condition, function), count)
            for (account, function, condition), count in _with_zeros(totals.drops, known, _DROPS).items()
        ],
    )
    yield counter(
        "async_event_retries",
        "Events that were requeued, by cause: the function failed (error), no slot was free or the backend answered 429"
        " (throttle), the backend could not be reached or failed (system).",
        ("account", "cause", "function"),
        [
            ((account, cause, function), count)
            for (account, function, cause), count in _with_zeros(totals.retries, known, _CAUSES).items()
        ],
    )
    yield histogram(
        "async_event_age_seconds",
        "Seconds between an event's 202 and each of its runs (CloudWatch: AsyncEventAge, there in ms).",
        _BY_FUNCTION,
        list(totals.ages.items()),
    )
    yield from _list_deliveries(totals, known)
    yield from _list_levels(levels)


def _list_deliveries(totals: EventTotals, known: list[tuple[str, str]]) -> Iterator[Family]:
    dead_letters = {key[:2]: count for key, count in totals.undelivered.items() if key[2] == "dead_letter_queue"}
    destinations = {key: count for key, count in totals.undelivered.items() if key[2] != "dead_letter_queue"}
    yield counter(
        "dead_letter_errors",
        "Messages to a dead-letter queue that failed async.delivery_attempts times; the event is kept"
        " (CloudWatch: DeadLetterErrors).",
        _BY_FUNCTION,
        list((dict.fromkeys(known, 0) | dead_letters).items()),
    )
    yield counter(
        "destination_delivery_failures",
        "Records to a destination, by its kind, that failed async.delivery_attempts times; the event is kept"
        " (CloudWatch: DestinationDeliveryFailures).",
        ("account", "function", "kind"),
        list(_with_zeros(destinations, known, _DESTINATIONS).items()),
    )


def _list_levels(levels: EventDepths) -> Iterator[Family]:
    yield gauge(
        "async_events_queued",
        "Events by state: before the first run (waiting), before a retry (retrying), running (running), being delivered"
        " to their targets (delivering), undelivered until a decision (undelivered), accepted for another backend and"
        " not yet adopted (held). Each gateway reports all events of its store, but only its own runs.",
        ("account", "function", "state"),
        levels.rows(),
    )
    yield gauge(
        "async_oldest_event_age_seconds",
        "Age of the oldest event that is still to be run or retried, in seconds; 0 without one.",
        ("account",),
        levels.oldest(),
    )
    yield gauge(
        "async_store_info",
        "1, with the store of events as label: its URL without credentials, or its file and the machine's name.",
        ("store",),
        [((levels.store,), 1)],
    )


def _with_zeros(
    counts: dict[tuple[str, str, str], int], known: list[tuple[str, str]], words: Iterable[str]
) -> dict[tuple[str, str, str], int]:
    return {(*key, word): 0 for key in known for word in words} | counts
