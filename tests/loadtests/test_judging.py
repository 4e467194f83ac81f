"""What an answer means. A refusal for the right reason is well; anything unexpected is a failure, with words for it."""

from __future__ import annotations

import json

import pytest

from loadtests.load.judging import (
    ADMITTED,
    CALLER_RATE,
    CONCURRENCY,
    RATE,
    REFUSED,
    RESERVED_CONCURRENCY,
    RESERVED_RATE,
    UNEXPECTED,
    Answer,
    Ceilings,
    Expected,
    judge,
)

from .answers import CEILINGS, REQUEST_ID, success, throttle


def test_a_success_is_a_row_of_its_function() -> None:
    verdict = judge(success(), "checkout", Expected(), CEILINGS)
    assert verdict == ("checkout 200", ADMITTED, "200", None)


def test_a_throttle_is_no_failure_and_a_row_of_its_function_and_reason() -> None:
    verdict = judge(throttle(RESERVED_CONCURRENCY), "checkout", Expected(), CEILINGS)
    assert verdict == (f"checkout 429 {RESERVED_CONCURRENCY}", REFUSED, RESERVED_CONCURRENCY, None)


@pytest.mark.parametrize(
    ("function", "reason", "is_rated", "is_right"),
    [
        ("checkout", RESERVED_CONCURRENCY, False, True),
        ("checkout", CONCURRENCY, False, False),
        ("search", CONCURRENCY, False, True),
        ("search", RESERVED_CONCURRENCY, False, False),
        ("checkout", RESERVED_RATE, False, False),
        ("checkout", RESERVED_RATE, True, True),
        ("checkout", RATE, True, False),
        ("search", RATE, True, True),
        ("search", RESERVED_RATE, True, False),
        ("search", CALLER_RATE, True, True),
        ("search", "ConcurrentSnapshotCreateLimitExceeded", True, False),
    ],
)
def test_which_reason_is_right_depends_on_the_function(
    function: str, reason: str, is_rated: bool, is_right: bool
) -> None:
    verdict = judge(throttle(reason), function, Expected(rated=is_rated), CEILINGS)
    assert verdict.kind == (REFUSED if is_right else UNEXPECTED)
    assert is_right or f"{reason} where" in str(verdict.problem)


def test_where_nobody_knows_the_limits_either_reason_may_be_right() -> None:
    for reason in (CONCURRENCY, RESERVED_CONCURRENCY):
        assert judge(throttle(reason), "checkout", Expected(), Ceilings()).kind == REFUSED


def test_a_throttle_of_a_call_that_must_not_be_throttled_is_a_failure() -> None:
    verdict = judge(throttle(CONCURRENCY), "search", Expected(throttled=False), CEILINGS)
    assert verdict.problem == f"{CONCURRENCY} where no refusal at all should be"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (throttle(CONCURRENCY, without="x-amzn-errortype"), "x-amzn-ErrorType is None"),
        (throttle(CONCURRENCY, without="x-amzn-requestid"), "no x-amzn-RequestId"),
        (throttle(CONCURRENCY, without="retry-after"), "Retry-After is None"),
        (throttle(CONCURRENCY, Type=None), "Type is None"),
        (throttle(CONCURRENCY, Type="Service"), "Type is 'Service'"),
        (throttle(CONCURRENCY, message=None, Message="Rate Exceeded."), "no text under `message`"),
        (throttle(CONCURRENCY, Reason=None), "without Reason where"),
        (throttle(CONCURRENCY)._replace(body=b"<html>"), "no JSON object: <html>"),
        (throttle(CONCURRENCY)._replace(body=b"[]"), "no JSON object"),
    ],
)
def test_a_throttle_of_the_wrong_shape_is_a_failure(answer: Answer, words: str) -> None:
    verdict = judge(answer, "search", Expected(), CEILINGS)
    assert verdict.kind == UNEXPECTED
    assert words in str(verdict.problem)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", ""])
def test_retry_after_must_be_whole_seconds_above_zero_unless_it_need_not_be_there(value: str) -> None:
    answer = throttle(CONCURRENCY)
    answer = answer._replace(headers={**answer.headers, "retry-after": value})
    assert judge(answer, "search", Expected(), CEILINGS).kind == UNEXPECTED
    assert judge(answer, "search", Expected(has_retry_after=False), CEILINGS).kind == REFUSED


@pytest.mark.parametrize("status", [0, 404, 500, 502, 503])
def test_any_other_status_and_no_answer_at_all_are_failures(status: int) -> None:
    verdict = judge(Answer(status, {"x-amzn-errortype": "ServiceException"}, b"why"), "search", Expected(), CEILINGS)
    assert verdict.kind == UNEXPECTED
    assert verdict.row == ("search no answer" if not status else f"search {status} ServiceException")
    assert str(verdict.problem).endswith(": why")


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (success(b'{"slept":1}'), Expected(admitted=False), 'a 200 that should not be: {"slept":1}'),
        (success(status=202), Expected(), "202 where 200 should be"),
        (success(), Expected(status=202), "200 where 202 should be"),
        (Answer(200, {}, b"{}"), Expected(), "no x-amzn-RequestId"),
        (success(x_amz_function_error="Unhandled"), Expected(), "a function error where none should be"),
        (success(), Expected(function_error=True), "no function error where one should be"),
    ],
)
def test_a_success_of_the_wrong_kind_is_a_failure(answer: Answer, expected: Expected, words: str) -> None:
    verdict = judge(answer, "search", expected, CEILINGS)
    assert verdict.kind == UNEXPECTED
    assert words in str(verdict.problem)


def test_an_expected_error_is_a_refusal_when_it_has_its_whole_shape() -> None:
    expected = Expected(admitted=False, error=(413, "RequestTooLargeException"))
    headers = {"x-amzn-errortype": "RequestTooLargeException", "x-amzn-requestid": REQUEST_ID}
    whole = Answer(413, headers, json.dumps({"Type": "User", "message": "too large"}).encode())
    verdict = judge(whole, "echo", expected, CEILINGS)
    assert (verdict.kind, verdict.what) == (REFUSED, "413 RequestTooLargeException")
    other = whole._replace(headers={**headers, "x-amzn-errortype": "RequestEntityTooLargeException"})
    assert judge(other, "echo", expected, CEILINGS).kind == UNEXPECTED


def test_a_long_unexpected_body_is_cut_for_the_table() -> None:
    verdict = judge(Answer(500, {}, b"x" * 10_000), "echo", Expected(), CEILINGS)
    assert len(str(verdict.problem)) < 200


def test_ceilings_are_read_from_an_entry_of_limits() -> None:
    entry = {
        "concurrent_executions": 20,
        "unreserved": {"ceiling": 12, "in_flight": 0},
        "functions": [
            {"function": "checkout", "ceiling": 8, "reserved": True},
            {"function": "search", "ceiling": 12, "reserved": False},
        ],
    }
    assert Ceilings.read(entry) == CEILINGS
    assert CEILINGS.by_counter() == {"account": 20, "unreserved": 12, "checkout": 8}
    assert Ceilings().by_counter() == {}
