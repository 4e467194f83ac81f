"""Many refusals, or many dropped events, are one line of the log."""

from __future__ import annotations

import asyncio

import pytest

from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.limits import AccountLimits
from invoke_gateway.refusals import Refusal
from invoke_gateway.telemetry.event_totals import EventTotals
from invoke_gateway.telemetry.logs import summaries
from invoke_gateway.telemetry.logs.summaries import DropSummary, RefusalSummary
from invoke_gateway.telemetry.totals import Totals
from tests.support.sockets import gateway, invoke


def refused(refusal: Refusal, function: str = "invented", account: str = "000000000000") -> Exchange:
    exchange = Exchange(0.0)
    exchange.invocation = Invocation(Operation.INVOKE, Function(function), InvocationType.REQUEST_RESPONSE)
    exchange.plan = AccountLimits(account, 1).plan(function)
    exchange.refuse(refusal)
    return exchange


def record(totals: Totals, refusal: Refusal, function: str = "invented", account: str = "000000000000") -> Exchange:
    exchange = refused(refusal, function, account)
    totals.record(exchange)
    return exchange


@pytest.fixture
def totals() -> Totals:
    return Totals()


@pytest.fixture
def summary(totals: Totals) -> RefusalSummary:
    return RefusalSummary(totals)


async def test_a_flood_of_refusals_is_one_line(
    totals: Totals, summary: RefusalSummary, caplog: pytest.LogCaptureFixture
) -> None:
    """With how many there were since the last line, why, and of which function."""
    for _ in range(1000):
        exchange = record(totals, Refusal.CONCURRENCY)
        summary.record_refusal(exchange)
    summary.record_refusal(record(totals, Refusal.INVALID_JSON))
    assert caplog.records == []
    summary.report()
    summary.report()
    totals.record(refused(Refusal.CONCURRENCY))
    summary.report()
    assert [record.getMessage() for record in caplog.records] == [
        (
            "refused 1001: 1000 x ConcurrentInvocationLimitExceeded, 1 x InvalidRequestContentException; "
            "most refused: invented 1001"
        ),
        "refused 1: 1 x ConcurrentInvocationLimitExceeded",
    ]


async def test_the_three_functions_most_refused_go_by_their_own_names_and_accounts(
    totals: Totals, summary: RefusalSummary, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those without a label. A failure of the backend is no refusal of a function."""
    for account, name, times in (
        ("000000000000", "a", 1),
        ("000000000000", "b", 4),
        ("111122223333", "b", 3),
        ("000000000000", "c", 2),
    ):
        for _ in range(times):
            summary.record_refusal(record(totals, Refusal.CONCURRENCY, name, account))
    failed = refused(Refusal.BACKEND_ERROR, "broken")
    failed.error_kind = "reset"
    for _ in range(20):
        totals.record(failed)
        summary.record_refusal(failed)
    summary.report()
    (line,) = caplog.records
    assert line.getMessage().endswith("; most refused: b 4, 111122223333/b 3, c 2")
    assert line.fields["functions"][1] == {"account": "111122223333", "function": "b", "refused": 3}  # type: ignore[attr-defined]
    assert line.fields["reasons"]["ConcurrentInvocationLimitExceeded"] == 10  # type: ignore[attr-defined]


async def test_a_summary_comes_by_itself_after_a_while(
    totals: Totals, summary: RefusalSummary, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "SUMMARY_SECONDS", 0)
    for lines in (1, 2):
        totals.record(refused(Refusal.CONCURRENCY))
        summary.record()
        await asyncio.sleep(0.01)
        assert len(caplog.records) == lines
        await asyncio.sleep(0.01)
        assert len(caplog.records) == lines


def test_a_refusal_is_in_the_summary_that_the_end_brings(caplog: pytest.LogCaptureFixture) -> None:
    closed = {"closed": {"reserved_concurrent_executions": 0}}
    with gateway(accounts={"default": {"functions": closed}}) as served:
        served.send(invoke("closed"))
        served.send(invoke("open"))
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused")] == [
        "refused 1: 1 x ReservedFunctionConcurrentInvocationLimitExceeded; most refused: closed 1"
    ]


async def test_what_was_not_refused_is_not_summarised(
    totals: Totals, summary: RefusalSummary, caplog: pytest.LogCaptureFixture
) -> None:
    totals.record(Exchange(0.0))
    summary.report()
    assert caplog.records == []


async def test_a_flood_of_dropped_events_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes by itself, with how many there were since the last line, why, and of which function."""
    events = EventTotals()
    drops = DropSummary(events)
    for _ in range(1000):
        events.dropped("a", "report", "RetriesExhausted")
    events.dropped("a", "other", "EventAgeExceeded")
    assert caplog.records == []
    drops.report()
    drops.report()
    monkeypatch.setattr(summaries, "SUMMARY_SECONDS", 0)
    events.dropped("a", "report", "RetriesExhausted")
    await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "1001 events dropped: 1000 RetriesExhausted (report), 1 EventAgeExceeded (other)",
        "1 event dropped: 1 RetriesExhausted (report)",
    ]
