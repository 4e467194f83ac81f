"""What happened: events, their runs, the gateways that ran them, and what was done to these."""

from __future__ import annotations

from enum import Enum, StrEnum

from .script import Intent, RunEnding


class EventAnswer(Enum):
    """What the client of an event was told. `UNKNOWN`: its connection ended before an answer came."""

    NONE = "not sent"
    ACCEPTED = "202"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class GatewayInstance:
    """One gateway process, from its start to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_affected = False

    def __repr__(self) -> str:
        return f"<Life {self.name}>"


class EventFaultKind(StrEnum):
    KILLED = "killed (-9)"
    STOPPED = "stopped for longer than the lease"
    STOPPED_SHORTLY = "stopped for less than the lease"
    RESTARTED = "told to end (SIGTERM), and started anew"

    @property
    def excuses(self) -> bool:
        """Whether what the gateway had claimed may be run again by another."""
        return self in (EventFaultKind.KILLED, EventFaultKind.STOPPED)


class EventFault:
    """`ended`: when the gateway was continued, or is gone."""

    def __init__(
        self, kind: EventFaultKind, gateway: GatewayInstance, began: float, ended: float | None = None
    ) -> None:
        self.kind = kind
        self.gateway = gateway
        self.began = began
        self.ended = ended

    def __repr__(self) -> str:
        return f"<Blow {self.gateway.name} {self.kind} at {self.began:.3f}>"


class EventRun:
    """One run of an event at the backend. `is_counted`: whether it counts in the limits still."""

    __slots__ = ("began", "ended", "ending", "event", "gateway", "is_counted")

    def __init__(self, event: SentEvent, gateway: GatewayInstance, ending: RunEnding, began: float) -> None:
        self.event = event
        self.gateway = gateway
        self.ending = ending
        self.began = began
        self.ended: float | None = None
        self.is_counted = True

    def __repr__(self) -> str:
        return f"<Run {self.event.id} {self.gateway.name} {self.ending} {self.began:.3f} to {self.ended}>"


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
