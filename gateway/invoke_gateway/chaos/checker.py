"""Whether an answer is one that its call may get."""

from __future__ import annotations

import msgspec

from .backend import Payload, encode_result
from .calls import Call, Ending
from .history import Ledger
from .quotas import UNRESERVED_REASON
from .timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED
from .violations import Fault
from .wire import Answer

# A backend that failed like this has never sent a whole answer.
_NEVER_ANSWER = (Ending.RESETS, Ending.BREAKS_OFF, Ending.GARBAGE, Ending.HANGS, Ending.LATE_GARBAGE)


def judge(ledger: Ledger, call: Call, answer: Answer | None) -> None:
    """Note what is wrong with what the client of `call` got, and that the call is over. A client that left does not
    come here."""
    if answer is None:
        note_silence(ledger, call, "the connection ended, or stood still, without an answer")
        return
    ledger.answers[str(answer.status)] += 1
    if not answer.is_whole:
        ledger.note_answer(UNANSWERED)
        ledger.left(call)
        if not (call.is_streamed and call.ending.is_fault) and not _explains_silence(ledger, call):
            ledger.faults.add(Fault.UNANSWERED, f"{call}: its answer broke off after {len(answer.body)} bytes")
        return
    if answer.status == 200:
        _judge_result(ledger, call, answer)
    elif answer.status == 429:
        _judge_refusal(ledger, call, answer)
    elif answer.status >= 500:
        _judge_failure(ledger, call, answer)
    else:
        ledger.faults.add(Fault.UNEXPECTED, describe(call, answer))
    ledger.answered(call)


def note_silence(ledger: Ledger, call: Call, why: str) -> None:
    """The client stayed, and got no answer."""
    ledger.answers["none"] += 1
    ledger.note_answer(UNANSWERED)
    ledger.left(call)
    if not _explains_silence(ledger, call):
        ledger.faults.add(Fault.UNANSWERED, f"{call}: {why}")


def _explains_silence(ledger: Ledger, call: Call) -> bool:
    if ledger.damage is None or not ledger.damage.explains_silence(call):
        return False
    ledger.damage.note_silence(call)
    return True


def _judge_result(ledger: Ledger, call: Call, answer: Answer) -> None:
    try:
        id = msgspec.json.decode(answer.body, type=Payload).id
    except msgspec.MsgspecError:
        id = None
    if id is not None and id != call.id:
        ledger.faults.add(Fault.WRONG_CLIENT, f"{call} got the response of {id}")
    elif call.arrivals == 0:
        ledger.faults.add(Fault.UNEXPECTED, f"{describe(call, answer)}: it never reached the backend")
    elif call.ending in _NEVER_ANSWER or answer.body != encode_result(call):
        ledger.faults.add(Fault.UNEXPECTED, describe(call, answer))


def _judge_refusal(ledger: Ledger, call: Call, answer: Answer) -> None:
    call.is_refused = True
    try:
        reason = msgspec.json.decode(answer.body).get("Reason")
    except (msgspec.MsgspecError, AttributeError):
        reason = None
    code = answer.headers.get("x-amzn-errortype")
    ledger.note_answer(str(reason))
    ledger.rate_refusals += "RateLimitExceeded" in str(reason)
    is_struck = ledger.damage is not None and ledger.damage.explains_refusal(call, ledger.clock())
    # Calls that come back beyond a limit may fill the account before this reservation is full.
    is_right = reason == call.lane.reason or (is_struck and reason == UNRESERVED_REASON)
    if not is_right or code != "TooManyRequestsException":
        ledger.faults.add(Fault.REASON, f"{call} got {code} {reason}, expected {call.lane.reason}")
    if call.arrivals:
        ledger.faults.add(Fault.REFUSED_AND_RUN, f"{call} was refused and run")
    elif call.ending is Ending.WAITS:
        return  # see quiet.py for those that fill
    elif is_struck and ledger.damage is not None:
        if not ledger.ran_full(call):
            ledger.damage.note_free_refusal(call, ledger.clock())
    elif ledger.was_free(call):
        decision = answer.headers.get("x-invoke-gateway-decision", "no decision header")
        text = f"{call}: fewer than {call.lane.ceiling} could be in flight; {decision}"
        # A release that is on its way for longer than it may be is late by as much as that is.
        since = call.opened_at - ledger.release_seconds
        ledger.add_unless_starved(Fault.WAS_FREE, text, since, ledger.release_seconds / 2)


def _judge_failure(ledger: Ledger, call: Call, answer: Answer) -> None:
    ledger.note_answer(FAILED_BY_BACKEND if call.ending.is_fault else FAILED)
    is_late = call.sent_at is not None and ledger.clock() - call.sent_at >= ledger.timeout_seconds
    is_struck = ledger.damage is not None and ledger.damage.explains_failure(call, ledger.clock())
    if not call.ending.is_fault and not is_late and not is_struck:  # on a starved machine the time-out may hit any call
        when = ledger.damage.tell_when(call, ledger.clock()) if ledger.damage else ""
        text = describe(call, answer) + when
        if answer.headers.get("x-amzn-errortype") == "ServiceException":  # the store may have been too slow
            ledger.add_unless_starved(Fault.NO_FAULT, text, call.opened_at - ledger.release_seconds)
        else:
            ledger.faults.add(Fault.NO_FAULT, text)
        return
    if is_struck and not call.ending.is_fault and ledger.damage is not None:
        ledger.damage.note_failure(call, ledger.clock())
    if (call.ending.is_fault or is_struck) and answer.headers.get("x-amzn-errortype") != "ServiceException":
        ledger.faults.add(Fault.UNEXPECTED, f"{describe(call, answer)}: not in Lambda's shape")


def describe(call: Call, answer: Answer) -> str:
    return f"{call} got {answer.status} {answer.body[:120]!r}"
