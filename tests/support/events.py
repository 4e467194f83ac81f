"""Makes events that have ended, for the tests of their outcomes."""

from __future__ import annotations

from invoke_gateway.policy.events.event_rules import Condition
from invoke_gateway.queue.event import Event, FunctionAnswer, Outcome

ARN = "arn:aws:lambda:us-east-1:000000000000:function:report"
FAILURE = b'{"errorMessage":"no such report","errorType":"ValueError","stackTrace":[]}'
FAILED = FunctionAnswer(200, FAILURE, "Unhandled", "$LATEST")


def ended(
    condition: Condition = "RetriesExhausted",
    answer: FunctionAnswer | None = FAILED,
    *,
    body: bytes = b'{"id":7}',
    runs: int = 3,
    arn: str = ARN,
    code: int = 200,
    message: str = "the function failed",
    received_at: float = 1_700_000_000.25,
) -> Event:
    """Returns an event that was run three times and failed each time, or another end."""
    event = Event("0a5c5f5e-0000-4000-8000-000000000001", "000000000000", "report", arn, b"/p", b"", [], body,
                  received_at, received_at, "lane", runs=runs)  # fmt: skip
    event.outcome = Outcome(condition, 1_700_000_180.0625, code, message, answer)
    return event
