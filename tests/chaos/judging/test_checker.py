"""Which answers a call may get."""

from __future__ import annotations

import json

import pytest

from invoke_gateway.chaos.backend import encode_result
from invoke_gateway.chaos.calls import CallEnding, PlannedCall
from invoke_gateway.chaos.judging.checker import check_answer
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.quotas import RESERVED_REASON, UNRESERVED_REASON, AccountQuota
from invoke_gateway.chaos.wire import HttpAnswer

ACCOUNT = AccountQuota("000000000000", 1)
(POOL,) = ACCOUNT.lanes
FAILED = HttpAnswer(500, {"x-amzn-errortype": "ServiceException"}, b"{}")


@pytest.fixture
def history() -> CallHistory:
    return CallHistory([ACCOUNT], 1, 2, clock=lambda: 100.0)


def sent(
    history: CallHistory, id: str, ending: CallEnding = CallEnding.ANSWERS, *, is_streamed: bool = False
) -> PlannedCall:
    call = PlannedCall(id, POOL, "prove-one", ending=ending, is_streamed=is_streamed)
    history.open(call)
    history.send(call)
    return call


def refusal(reason: str = UNRESERVED_REASON, code: str = "TooManyRequestsException") -> HttpAnswer:
    return HttpAnswer(429, {"x-amzn-errortype": code}, json.dumps({"Reason": reason}).encode())


def violations_of(history: CallHistory, call: PlannedCall, answer: HttpAnswer | None) -> set[Violation]:
    check_answer(history, call, answer)
    return set(history.violations.counts)


def test_its_own_result_is_right_and_another_calls_is_not(history: CallHistory) -> None:
    call, other = sent(history, "a"), sent(history, "b")
    call.arrivals = other.arrivals = 1
    assert violations_of(history, call, HttpAnswer(200, {}, encode_result(call))) == set()
    assert violations_of(history, other, HttpAnswer(200, {}, encode_result(call))) == {Violation.WRONG_CLIENT}


def test_a_result_without_a_run_or_other_than_the_backends_is_explained_by_nothing(history: CallHistory) -> None:
    call = sent(history, "a")
    assert violations_of(history, call, HttpAnswer(200, {}, encode_result(call))) == {Violation.UNEXPECTED}
    call.arrivals = 1
    check_answer(history, call, HttpAnswer(200, {}, b"{}"))
    assert history.violations.counts[Violation.UNEXPECTED] == 2


def test_no_answer_is_a_fault_whatever_the_backend_did(history: CallHistory) -> None:
    assert violations_of(history, sent(history, "a", CallEnding.RESETS), None) == {Violation.UNANSWERED}


def test_only_a_stream_whose_backend_failed_may_break_off(history: CallHistory) -> None:
    cut = HttpAnswer(200, {}, b"{", is_whole=False)
    assert violations_of(history, sent(history, "a", CallEnding.BREAKS_OFF, is_streamed=True), cut) == set()
    assert violations_of(history, sent(history, "b", CallEnding.BREAKS_OFF), cut) == {Violation.UNANSWERED}


@pytest.mark.parametrize(
    ("sent_at", "is_streamed", "violations"),
    [(98.0, True, set()), (98.1, True, {Violation.UNANSWERED}), (98.0, False, {Violation.UNANSWERED})],
)
def test_a_stream_may_break_off_once_the_gateways_time_out_has_passed(
    history: CallHistory, sent_at: float, is_streamed: bool, violations: set[Violation]
) -> None:
    call = sent(history, "a", is_streamed=is_streamed)
    call.sent_at = sent_at
    assert violations_of(history, call, HttpAnswer(200, {}, b"{", is_whole=False)) == violations


def test_a_5xx_needs_a_backend_that_failed_or_a_time_out_that_has_passed(history: CallHistory) -> None:
    assert violations_of(history, sent(history, "a", CallEnding.GARBAGE), FAILED) == set()
    late = sent(history, "b")
    late.sent_at = 98.0
    assert violations_of(history, late, FAILED) == set()
    assert violations_of(history, sent(history, "c"), FAILED) == {Violation.NO_FAULT}


def test_a_5xx_has_lambdas_shape(history: CallHistory) -> None:
    assert violations_of(history, sent(history, "a", CallEnding.RESETS), HttpAnswer(502, {}, b"")) == {
        Violation.UNEXPECTED
    }


@pytest.mark.parametrize("answer", [refusal(RESERVED_REASON), refusal(code="Other"), HttpAnswer(429, {}, b"not JSON")])
def test_a_refusal_has_the_reason_of_its_lane(history: CallHistory, answer: HttpAnswer) -> None:
    sent(history, "holder")
    assert violations_of(history, sent(history, "a"), answer) == {Violation.REASON}


def test_a_refusal_is_right_while_another_may_hold_the_slot_and_wrong_when_none_can(history: CallHistory) -> None:
    holder = sent(history, "holder")
    assert violations_of(history, sent(history, "a"), refusal()) == set()
    history.answered(holder)
    assert violations_of(history, sent(history, "b"), refusal()) == {Violation.WAS_FREE}


def test_a_refused_call_must_not_have_run(history: CallHistory) -> None:
    call = sent(history, "a")
    call.arrivals = 1
    assert violations_of(history, call, refusal()) == {Violation.REFUSED_AND_RUN}


def test_any_other_status_is_explained_by_nothing(history: CallHistory) -> None:
    assert violations_of(history, sent(history, "a"), HttpAnswer(404, {}, b"")) == {Violation.UNEXPECTED}
