"""Compares records and dead-letter messages with recordings of AWS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.queue.event import Event, FunctionAnswer, decode_event, encode_head
from invoke_gateway.queue.outcomes.destination_records import NO_CHARACTER, delivery_id, make_attributes, make_record
from tests.support.events import ARN, ended


def record_of(event: Event) -> dict[str, Any]:
    record = json.loads(make_record(event))
    assert isinstance(record, dict)
    return record


def test_a_function_that_failed_too_often_gives_the_record_that_aws_gives() -> None:
    assert make_record(ended()).decode() == (
        '{"version":"1.0","timestamp":"2023-11-14T22:16:20.062Z",'
        '"requestContext":{"requestId":"0a5c5f5e-0000-4000-8000-000000000001",'
        '"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:report:$LATEST",'
        '"condition":"RetriesExhausted","approximateInvokeCount":3},'
        '"requestPayload":{"id":7},'
        '"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
        '"responsePayload":{"errorMessage":"no such report","errorType":"ValueError","stackTrace":[]}}'
    )


def test_a_success_counts_its_own_run_and_has_no_function_error() -> None:
    record = record_of(ended("Success", FunctionAnswer(200, b'"done"', None, "4"), runs=1))
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "4"}
    assert record["responsePayload"] == "done"


def test_a_reservation_of_0_is_told_without_a_count_and_without_a_response() -> None:
    for event in (ended("ZeroReservedConcurrency", None, runs=0), ended("ZeroReservedConcurrency")):
        record = record_of(event)
        assert list(record) == ["version", "timestamp", "requestContext", "requestPayload"]
        assert record["requestContext"]["approximateInvokeCount"] == 0


def test_an_event_that_became_too_old_is_told_with_its_runs_and_with_a_response_where_it_had_one() -> None:
    failed = record_of(ended("EventAgeExceeded", runs=1))
    assert failed["requestContext"]["approximateInvokeCount"] == 1
    assert failed["responsePayload"]["errorMessage"] == "no such report"
    throttled = record_of(ended("EventAgeExceeded", None, runs=0, code=429))
    assert throttled["requestContext"]["approximateInvokeCount"] == 0
    assert not throttled.keys() & {"responseContext", "responsePayload"}


def test_the_arn_of_a_record_is_always_qualified() -> None:
    assert record_of(ended())["requestContext"]["functionArn"] == f"{ARN}:$LATEST"
    assert record_of(ended(arn=f"{ARN}:live"))["requestContext"]["functionArn"] == f"{ARN}:live"


def test_payloads_stay_the_bytes_they_are() -> None:
    payload = b'{"b": 1.10, "a": 12345678901234567890123,\n "a": 1e400, "s": "\\ud800 \xc3\xa4"}'
    record = make_record(ended("Success", FunctionAnswer(200, payload), body=payload))
    assert record.count(payload) == 2


def test_an_empty_event_is_an_empty_object_and_an_empty_answer_is_null() -> None:
    record = record_of(ended("Success", FunctionAnswer(200, b""), body=b""))
    assert record["requestPayload"] == {}
    assert record["responsePayload"] is None


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_a_backend_answers_a_record_is_one_json_object(body: bytes, payload: bytes) -> None:
    record = record_of(ended("Success", FunctionAnswer(200, payload), body=body))
    assert record["version"] == "1.0"
    assert record.keys() >= {"requestPayload", "responsePayload"}


def test_an_answer_that_is_no_json_is_told_as_a_text() -> None:
    assert record_of(ended("Success", FunctionAnswer(200, b"<html>\xff")))["responsePayload"] == "<html>\ufffd"


def test_a_version_that_the_backend_did_not_say_is_latest() -> None:
    assert record_of(ended("Success", FunctionAnswer(200, b"1")))["responseContext"]["executedVersion"] == "$LATEST"


def test_a_record_is_the_same_after_the_event_was_in_a_store() -> None:
    event = ended()
    kept = decode_event(encode_head(event), event.body, 1)
    assert make_record(kept) == make_record(event)
    assert delivery_id("on_failure", kept) == delivery_id("on_failure", event)


# ---- dead-letter messages -------------------------------------------------------------------------------------


def test_a_function_error_has_the_code_200_and_the_functions_own_message() -> None:
    assert make_attributes(ended()) == {
        "RequestID": "0a5c5f5e-0000-4000-8000-000000000001",
        "ErrorCode": 200,
        "ErrorMessage": "no such report",
    }


@pytest.mark.parametrize(
    "payload", [b"", b"null", b'"x"', b'{"errorMessage":5}', b'{"errorMessage":""}', b"\xff", b"{"]
)
def test_a_function_error_without_a_message_has_the_outcomes(payload: bytes) -> None:
    attributes = make_attributes(ended(answer=FunctionAnswer(200, payload, "Unhandled")))
    assert attributes["ErrorMessage"] == "the function failed"


def test_an_event_that_was_throttled_out_says_429_even_where_it_had_failed_before() -> None:
    attributes = make_attributes(ended("EventAgeExceeded", code=429, message="Rate Exceeded."))
    assert (attributes["ErrorCode"], attributes["ErrorMessage"]) == (429, "Rate Exceeded.")


@given(st.text(max_size=400), st.integers(0, 1100), st.sampled_from("aä€😀"))
def test_an_error_message_is_cut_at_1024_bytes_and_never_inside_a_character(text: str, more: int, wide: str) -> None:
    said = "x" + text + wide * more
    shown = str(make_attributes(ended(answer=None, message=said, code=429))["ErrorMessage"])
    size = len(shown.encode())
    assert size <= 1024
    assert len(shown) == len(said) or size > 1024 - 4  # the longest character has four bytes
    assert NO_CHARACTER.sub("\ufffd", said).startswith(shown)


def test_an_error_message_has_no_character_that_a_queue_refuses_and_is_never_empty() -> None:
    payload = rb'{"errorMessage":"a\u0000b\u001bc\uffffd\te"}'
    assert make_attributes(ended(answer=FunctionAnswer(200, payload, "Unhandled")))["ErrorMessage"] == "a�b�c�d\te"
    assert make_attributes(ended(answer=None, message="", code=429))["ErrorMessage"] == "RetriesExhausted"


def test_what_is_told_is_named_by_request_kind_and_time_because_clients_choose_request_ids() -> None:
    names = {
        delivery_id("on_failure", ended()),
        delivery_id("dead_letter_queue", ended()),
        delivery_id("on_failure", ended(received_at=1_700_000_000.250001)),
    }
    assert len(names) == 3
    assert delivery_id("on_failure", ended(runs=2)) in names
