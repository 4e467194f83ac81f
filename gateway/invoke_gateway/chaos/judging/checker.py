"""Checks each answer against its call."""

from __future__ import annotations

import msgspec

from ..backend import encode_result
from ..backend_server import CallPayload
from ..calls import CallEnding, PlannedCall
from ..faults.timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED
from ..quotas import UNRESERVED_REASON
from ..wire import HttpAnswer
from .history import CallHistory
from .violations import Violation

# A backend that failed like this has never sent a whole answer.
_NEVER_ANSWER = (
    CallEnding.RESETS,
    CallEnding.BREAKS_OFF,
    CallEnding.GARBAGE,
    CallEnding.HANGS,
    CallEnding.LATE_GARBAGE,
)


def check_answer(history: CallHistory, call: PlannedCall, answer: HttpAnswer | None) -> None:
    """Records what is wrong with the answer that the client of `call` received, and that the call is over."""
    if answer is None:
        record_silence(history, call, "the connection ended, or stood still, without an answer")
        return
    history.answers[str(answer.status)] += 1
    if not answer.is_whole:
        history.record_answer(UNANSWERED)
        history.left(call)
        may_break_off = call.is_streamed and (call.ending.is_fault or _is_late(history, call))
        if not may_break_off and not _excuses_silence(history, call):
            history.violations.add(Violation.UNANSWERED, f"{call}: its answer broke off after {len(answer.body)} bytes")
        return
    if answer.status == 200:
        _check_result(history, call, answer)
    elif answer.status == 429:
        _check_refusal(history, call, answer)
    elif answer.status >= 500:
        _check_failure(history, call, answer)
    else:
        history.violations.add(Violation.UNEXPECTED, describe(call, answer))
    history.answered(call)


def record_silence(history: CallHistory, call: PlannedCall, why: str) -> None:
    """Records that the client stayed, and received no answer."""
    history.answers["none"] += 1
    history.record_answer(UNANSWERED)
    history.left(call)
    if not _excuses_silence(history, call):
        history.violations.add(Violation.UNANSWERED, f"{call}: {why}")


def _excuses_silence(history: CallHistory, call: PlannedCall) -> bool:
    if history.fault_log is None or not history.fault_log.excuses_silence(call):
        return False
    history.fault_log.record_silence(call)
    return True


def _is_late(history: CallHistory, call: PlannedCall) -> bool:
    """True where the gateway's time-out may have ended the call. On an overloaded machine it may end any."""
    return call.sent_at is not None and history.clock() - call.sent_at >= history.timeout_seconds


def _check_result(history: CallHistory, call: PlannedCall, answer: HttpAnswer) -> None:
    try:
        id = msgspec.json.decode(answer.body, type=CallPayload).id
    except msgspec.MsgspecError:
        id = None
    if id is not None and id != call.id:
        history.violations.add(Violation.WRONG_CLIENT, f"{call} got the response of {id}")
    elif call.arrivals == 0:
        history.violations.add(Violation.UNEXPECTED, f"{describe(call, answer)}: it never reached the backend")
    elif call.ending in _NEVER_ANSWER or answer.body != encode_result(call):
        history.violations.add(Violation.UNEXPECTED, describe(call, answer))


def _check_refusal(history: CallHistory, call: PlannedCall, answer: HttpAnswer) -> None:
    call.is_refused = True
    try:
        reason = msgspec.json.decode(answer.body).get("Reason")
    except (msgspec.MsgspecError, AttributeError):
        reason = None
    code = answer.headers.get("x-amzn-errortype")
    history.record_answer(str(reason))
    history.rate_refusals += "RateLimitExceeded" in str(reason)
    is_affected = history.fault_log is not None and history.fault_log.excuses_refusal(call, history.clock())
    # Calls that come back beyond a limit may fill the account before this reservation is full.
    is_right = reason == call.lane.reason or (reason == UNRESERVED_REASON and (is_affected or history.limits_change))
    if not is_right or code != "TooManyRequestsException":
        history.violations.add(Violation.REASON, f"{call} got {code} {reason}, expected {call.lane.reason}")
    if call.arrivals:
        history.violations.add(Violation.REFUSED_AND_RUN, f"{call} was refused and run")
    elif call.ending is CallEnding.WAITS:
        return  # the final check judges the calls that fill
    elif is_affected and history.fault_log is not None:
        if not history.ran_full(call):
            history.fault_log.record_free_refusal(call, history.clock())
    elif history.was_free(call):
        decision = answer.headers.get("x-invoke-gateway-decision", "no decision header")
        text = f"{call}: fewer than {call.lane.ceiling} could be in flight; {decision}"
        # A release that is on its way for longer than it may be is late by as much as that is.
        since = call.opened_at - history.release_seconds
        history.add_unless_overloaded(Violation.WAS_FREE, text, since, history.release_seconds / 2)


def _check_failure(history: CallHistory, call: PlannedCall, answer: HttpAnswer) -> None:
    history.record_answer(FAILED_BY_BACKEND if call.ending.is_fault else FAILED)
    is_affected = history.fault_log is not None and history.fault_log.excuses_failure(call, history.clock())
    if not call.ending.is_fault and not is_affected and not _is_late(history, call):
        when = history.fault_log.describe_moment(call, history.clock()) if history.fault_log else ""
        text = describe(call, answer) + when
        if answer.headers.get("x-amzn-errortype") == "ServiceException":
            # A gateway that was late may have lost its lease, and admits calls once it has recovered from that.
            history.add_unless_overloaded(Violation.NO_FAULT, text, call.opened_at - history.recovery_seconds)
        else:
            history.violations.add(Violation.NO_FAULT, text)
        return
    if is_affected and not call.ending.is_fault and history.fault_log is not None:
        history.fault_log.record_failure(call, history.clock())
    if (call.ending.is_fault or is_affected) and answer.headers.get("x-amzn-errortype") != "ServiceException":
        history.violations.add(Violation.UNEXPECTED, f"{describe(call, answer)}: not in Lambda's shape")


def describe(call: PlannedCall, answer: HttpAnswer) -> str:
    return f"{call} got {answer.status} {answer.body[:120]!r}"
