"""What is logged of a request, and above all what is not."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest

from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.limits import AccountLimits
from invoke_gateway.refusals import Refusal
from invoke_gateway.telemetry import log as telemetry_log
from invoke_gateway.telemetry.event_totals import EventTotals
from invoke_gateway.telemetry.log import DropSummary, RefusalSummary
from invoke_gateway.telemetry.totals import Totals
from tests.support.sockets import Gateway, gateway, invoke

SECRETS = (
    "hunter2",
    "AKIASECRET",
    "f00dfeed",
    "Credential",
    "secret-query",
    "eyJzZWNyZXQiOiJjb250ZXh0In0=",
    "secret-header",
)
REQUEST_ID = "0f0e0d0c-0b0a-4908-8706-050403020100"
HEADERS = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIASECRET/x, Signature=f00dfeed",
    f"X-Amzn-RequestId: {REQUEST_ID}",
    "X-Amz-Client-Context: eyJzZWNyZXQiOiJjb250ZXh0In0=",
    "X-Custom: secret-header",
)
BODY = b'{"password": "hunter2"}'


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "invoke_gateway.access"]


def send_and_read(served: Gateway, caplog: pytest.LogCaptureFixture, data: bytes) -> dict[str, Any]:
    """The access line of one request, without what differs from time to time."""
    caplog.clear()
    served.send(data)
    served.until(lambda: len(lines_of(caplog)) == 1, "the line is written")
    (line,) = lines_of(caplog)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("logger") == "invoke_gateway.access"
    assert line.pop("duration_seconds") > 0
    assert line.pop("client") == "127.0.0.1"
    return line


def test_one_line_tells_who_asked_for_what_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing of payload, Authorization, query or any other header."""
    functions = {"closed": {"reserved_concurrent_executions": 0}}
    with gateway(access_log="-", accounts={"default": {"functions": functions}}) as served:
        with caplog.at_level(logging.INFO, "invoke_gateway.access"):
            line = send_and_read(served, caplog, invoke("echo", BODY, *HEADERS))
            assert line.pop("backend_seconds") > 0
            common = {"request_id": REQUEST_ID, "method": "POST", "account": "000000000000"}
            invoked = {"operation": "Invoke", "invocation_type": "RequestResponse"}
            assert line == {**common, **invoked, "function": "echo", "status": 200}

            path = "/2015-03-31/functions/closed/invocations?Qualifier=secret-query"
            line = send_and_read(served, caplog, invoke("", BODY, *HEADERS, path=path))
            assert line == {
                **common,
                **invoked,
                "function": "closed",
                "status": 429,
                "error": "TooManyRequestsException",
                "reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "decision": 'limit="reserved_concurrent_executions", in-use=0, ceiling=0',
            }

            line = send_and_read(served, caplog, invoke("echo", BODY[:-1], *HEADERS))
            assert (line["status"], line["error"]) == (400, "InvalidRequestContentException")

            path = "/2015-03-31/functions?Marker=secret-query"
            line = send_and_read(served, caplog, invoke("", BODY, *HEADERS, path=path))
            assert line["path"] == "/2015-03-31/functions"
            assert "function" not in line
        assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_function_error_a_fault_and_a_client_that_left_are_marked(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(access_log="-") as served, caplog.at_level(logging.INFO, "invoke_gateway.access"):

        async def script(call: Any) -> None:
            if call.function == "broken":
                call.reset()
            call.answer(200, b"{}", {"X-Amz-Function-Error": "Unhandled"})

        served.backend.script = script
        assert send_and_read(served, caplog, invoke("fails"))["function_error"] is True
        line = send_and_read(served, caplog, invoke("broken"))
        assert (line["status"], line["fault"], line["error"]) == (500, "reset", "ServiceException")


def test_a_line_is_one_line_whatever_the_path_is(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(access_log="-") as served, caplog.at_level(logging.INFO, "invoke_gateway.access"):
        line = send_and_read(served, caplog, invoke("", path="/a%0A%0Db%00%22c"))
        assert line["path"] == '/a\n\rb\0"c'
        assert "\n" not in next(
            record.getMessage() for record in caplog.records if record.name == "invoke_gateway.access"
        )


def test_without_access_log_no_request_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with gateway() as served, caplog.at_level(logging.INFO):
        served.send(invoke())
        served.until_idle()
    assert lines_of(caplog) == []


# ---- refusals, summarised -------------------------------------------------------------------------------------


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
    monkeypatch.setattr(telemetry_log, "SUMMARY_SECONDS", 0)
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
    monkeypatch.setattr(telemetry_log, "SUMMARY_SECONDS", 0)
    events.dropped("a", "report", "RetriesExhausted")
    await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "1001 events dropped: 1000 RetriesExhausted (report), 1 EventAgeExceeded (other)",
        "1 event dropped: 1 RetriesExhausted (report)",
    ]
