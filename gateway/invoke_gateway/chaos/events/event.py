"""Defines an event, its runs, and what was done to the gateways that ran it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from ..calls import GatewayInstance
from .script import Intent, RunEnding


class EventAnswer(Enum):
    """Names what the client of an event received. `UNKNOWN`: the connection ended before an answer came."""

    NONE = "not sent"
    ACCEPTED = "202"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class EventFaultKind(StrEnum):
    """The faults of `prove --events`."""

    KILLED = "killed (-9)"
    STOPPED = "stopped for longer than the lease"
    STOPPED_SHORTLY = "stopped for less than the lease"
    RESTARTED = "ended (SIGTERM), and started again"

    @property
    def excuses(self) -> bool:
        """True where another gateway may run again what the affected one had claimed."""
        return self in (EventFaultKind.KILLED, EventFaultKind.STOPPED)


@dataclass(eq=False)
class EventFault:
    """One fault of one gateway. `ended`: when the gateway was continued, or was gone."""

    kind: EventFaultKind
    gateway: GatewayInstance
    began: float
    ended: float | None = None

    def __str__(self) -> str:
        return f"{self.gateway.name} {self.kind}"


class EventRun:
    """One run of an event at the backend. `is_counted`: False once other gateways may have its slot."""

    __slots__ = ("began", "ended", "ending", "event", "gateway", "is_counted")

    def __init__(self, event: SentEvent, gateway: GatewayInstance, ending: RunEnding, began: float) -> None:
        self.event = event
        self.gateway = gateway
        self.ending = ending
        self.began = began
        self.ended: float | None = None
        self.is_counted = True

    def __repr__(self) -> str:
        return f"<EventRun {self.event.id} {self.gateway.name} {self.ending} {self.began:.3f} to {self.ended}>"


class SentEvent:
    """One `Event` invocation of one client."""

    __slots__ = ("answer", "id", "intent", "is_over", "runs")

    def __init__(self, id: str, intent: Intent) -> None:
        self.id = id
        self.intent = intent
        self.answer = EventAnswer.NONE
        self.runs: list[EventRun] = []
        self.is_over = False

    def __repr__(self) -> str:
        function = self.intent.function
        runs = ", ".join(f"{run.ending} at {run.began:.3f} by {run.gateway.name}" for run in self.runs) or "no run"
        return f"{self.id} of {function.account}/{function.name} ({self.answer.value}; {runs})"
