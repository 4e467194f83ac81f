"""Which answers a call may get."""

from __future__ import annotations

import json

import pytest

from invoke_gateway.chaos.backend import encode_result
from invoke_gateway.chaos.calls import Call, Ending
from invoke_gateway.chaos.checker import judge
from invoke_gateway.chaos.history import Ledger
from invoke_gateway.chaos.quotas import RESERVED_REASON, UNRESERVED_REASON, Account
from invoke_gateway.chaos.violations import Fault
from invoke_gateway.chaos.wire import Answer

ACCOUNT = Account("000000000000", 1)
(POOL,) = ACCOUNT.lanes
FAILED = Answer(500, {"x-amzn-errortype": "ServiceException"}, b"{}")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger([ACCOUNT], 1, 2, clock=lambda: 100.0)


def sent(ledger: Ledger, id: str, ending: Ending = Ending.ANSWERS, *, is_streamed: bool = False) -> Call:
    call = Call(id, POOL, "prove-one", ending=ending, is_streamed=is_streamed)
    ledger.open(call)
    ledger.send(call)
    return call


def refusal(reason: str = UNRESERVED_REASON, code: str = "TooManyRequestsException") -> Answer:
    return Answer(429, {"x-amzn-errortype": code}, json.dumps({"Reason": reason}).encode())


def faults_of(ledger: Ledger, call: Call, answer: Answer | None) -> set[Fault]:
    judge(ledger, call, answer)
    return set(ledger.faults.counts)


def test_its_own_result_is_right_and_another_calls_is_not(ledger: Ledger) -> None:
    call, other = sent(ledger, "a"), sent(ledger, "b")
    call.arrivals = other.arrivals = 1
    assert faults_of(ledger, call, Answer(200, {}, encode_result(call))) == set()
    assert faults_of(ledger, other, Answer(200, {}, encode_result(call))) == {Fault.WRONG_CLIENT}


def test_a_result_without_a_run_or_other_than_the_backends_is_explained_by_nothing(ledger: Ledger) -> None:
    call = sent(ledger, "a")
    assert faults_of(ledger, call, Answer(200, {}, encode_result(call))) == {Fault.UNEXPECTED}
    call.arrivals = 1
    judge(ledger, call, Answer(200, {}, b"{}"))
    assert ledger.faults.counts[Fault.UNEXPECTED] == 2


def test_no_answer_is_a_fault_whatever_the_backend_did(ledger: Ledger) -> None:
    assert faults_of(ledger, sent(ledger, "a", Ending.RESETS), None) == {Fault.UNANSWERED}


def test_only_a_stream_whose_backend_failed_may_break_off(ledger: Ledger) -> None:
    cut = Answer(200, {}, b"{", is_whole=False)
    assert faults_of(ledger, sent(ledger, "a", Ending.BREAKS_OFF, is_streamed=True), cut) == set()
    assert faults_of(ledger, sent(ledger, "b", Ending.BREAKS_OFF), cut) == {Fault.UNANSWERED}


def test_a_5xx_needs_a_backend_that_failed_or_a_time_out_that_has_passed(ledger: Ledger) -> None:
    assert faults_of(ledger, sent(ledger, "a", Ending.GARBAGE), FAILED) == set()
    late = sent(ledger, "b")
    late.sent_at = 98.0
    assert faults_of(ledger, late, FAILED) == set()
    assert faults_of(ledger, sent(ledger, "c"), FAILED) == {Fault.NO_FAULT}


def test_a_5xx_has_lambdas_shape(ledger: Ledger) -> None:
    assert faults_of(ledger, sent(ledger, "a", Ending.RESETS), Answer(502, {}, b"")) == {Fault.UNEXPECTED}


@pytest.mark.parametrize("answer", [refusal(RESERVED_REASON), refusal(code="Other"), Answer(429, {}, b"not JSON")])
def test_a_refusal_has_the_reason_of_its_lane(ledger: Ledger, answer: Answer) -> None:
    sent(ledger, "holder")
    assert faults_of(ledger, sent(ledger, "a"), answer) == {Fault.REASON}


def test_a_refusal_is_right_while_another_may_hold_the_slot_and_wrong_when_none_can(ledger: Ledger) -> None:
    holder = sent(ledger, "holder")
    assert faults_of(ledger, sent(ledger, "a"), refusal()) == set()
    ledger.answered(holder)
    assert faults_of(ledger, sent(ledger, "b"), refusal()) == {Fault.WAS_FREE}


def test_a_refused_call_must_not_have_run(ledger: Ledger) -> None:
    call = sent(ledger, "a")
    call.arrivals = 1
    assert faults_of(ledger, call, refusal()) == {Fault.REFUSED_AND_RUN}


def test_any_other_status_is_explained_by_nothing(ledger: Ledger) -> None:
    assert faults_of(ledger, sent(ledger, "a"), Answer(404, {}, b"")) == {Fault.UNEXPECTED}
