"""`/queue`: what waits, and single events, as the admin listener shows and treats them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway.admin.queue_documents import describe_all, describe_queue
from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.depths import Depth, QueueMonitor
from invoke_gateway.queue.event import Event, FunctionAnswer, Outcome
from invoke_gateway.queue.operator_actions import EventStatus
from tests.support.lateness import check_is_age
from tests.support.sockets import Answer as HttpAnswer
from tests.support.sockets import Gateway, Wire, gateway, invoke

ACCOUNT, NAMED = "000000000000", "111122223333"
ID = "12345678-abcd-4000-8000-1234567890%02x"
ACCOUNTS: dict[str, Any] = {
    "default": {"functions": {"hold-one": {"reserved_concurrent_executions": 1}}},
    NAMED: {"concurrent_executions": 5},
}
NOW = 1_700_000_000.0
SECRETS = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIASECRET/20260101/us-east-1/lambda/aws4_request, Signature=f00dfeed",
    "X-Amz-Security-Token: session-secret",
    "Cookie: cookie-secret",
)


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts=ACCOUNTS) as started:
        yield started


def send(served: Gateway, number: int, function: str = "hold-one", body: bytes = b"{}", *headers: str) -> None:
    request = invoke(function, body, "X-Amz-Invocation-Type: Event", f"x-amzn-RequestId: {ID % number}", *headers)
    assert served.send(request).status == 202


def send_three(served: Gateway) -> None:
    """One runs, two wait."""
    for number in (1, 2, 3):
        send(served, number)
    served.until_running(1)


def ask(served: Gateway, path: str, method: str = "GET", *headers: str, body: bytes = b"") -> HttpAnswer:
    with Wire(served.server.admin.port) as wire:
        return wire.send(invoke("", body, *headers, path=path, method=method)).answer()


def retry(served: Gateway, number: int, *headers: str) -> HttpAnswer:
    headers = headers or ("Content-Type: application/json",)
    return ask(served, f"/queue/events/{ID % number}/retry", "POST", *headers)


def drop(served: Gateway, number: int) -> HttpAnswer:
    return ask(served, f"/queue/events/{ID % number}", "DELETE")


def test_an_empty_queue_says_where_it_is(served: Gateway) -> None:
    document = served.fetch("/queue").json
    assert document.pop("store").endswith("/events.db")
    assert document == {
        "mode": "queue",
        "events": 0,
        "waiting": 0,
        "retrying": 0,
        "running": 0,
        "delivering": 0,
        "undelivered": 0,
        "held": 0,
        "oldest_seconds": None,
        "held_origins": [],
        "functions": [],
        "left_out": 0,
        "last_ended": None,
        "last_failed": None,
        "trouble": None,
    }


def test_each_function_has_a_row_with_what_waits_and_runs(served: Gateway) -> None:
    began = time.monotonic()
    send_three(served)
    document = served.fetch("/queue").json
    (row,) = document["functions"]
    assert document["events"] == 3
    assert (row["account"], row["function"], row["waiting"], row["running"]) == (ACCOUNT, "hold-one", 2, 1)
    check_is_age(document["oldest_seconds"], began)
    assert row["oldest_seconds"] == document["oldest_seconds"]
    assert served.fetch("/queue?rows=0").json["left_out"] == 1
    served.until_no_events()


def test_functions_with_most_events_stand_first_whoever_named_them() -> None:
    depths = {("a", name): Depth(waiting=count) for name, count in (("x", 1), ("y", 5), ("z", 3), ("none", 0))}
    depths["b", "y"] = Depth(undelivered=9)
    document = describe_queue(depths, [], 3, NOW)
    shown = [(row["account"], row["function"]) for row in document["functions"]]
    assert (shown, document["left_out"], document["events"]) == ([("b", "y"), ("a", "y"), ("a", "z")], 1, 18)


def test_events_are_shown_oldest_first_or_by_request_id_without_what_would_sign_requests(served: Gateway) -> None:
    for number in (1, 2):
        send(served, number, "hold-one", b'{"n": 1}', *SECRETS, "X-Custom: mine")
    served.until_running(1)
    rows = served.fetch("/queue/events").json["events"]
    assert [(row["request_id"], row["state"]) for row in rows] == [(ID % 1, "running"), (ID % 2, "waiting")]
    answer = served.fetch(f"/queue/events?request_id={ID % 2}&payload=true")
    (row,) = answer.json["events"]
    assert row["arn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:hold-one:$LATEST"
    assert (row["payload"], row["size"], row["runs"], row["due_in_seconds"]) == ('{"n": 1}', 8, 0, 0)
    assert ["x-custom", "mine"] in row["headers"]
    assert "payload" not in rows[0]
    for secret in (b"AKIASECRET", b"f00dfeed", b"session-secret", b"cookie-secret"):
        assert secret not in answer.body
    served.until_no_events()


def test_events_can_be_asked_for_by_function_account_state_and_number(served: Gateway) -> None:
    send_three(served)
    send(
        served,
        4,
        "hold-b",
        b"{}",
        f"Authorization: AWS4-HMAC-SHA256 Credential={NAMED}/x/us-east-1/lambda/aws4_request",
    )
    served.until_running(2)

    def listed(query: str) -> list[str]:
        return [row["request_id"] for row in served.fetch(f"/queue/events?{query}").json["events"]]

    assert listed("state=waiting") == [ID % 2, ID % 3]
    assert listed("state=running&function=hold-one") == [ID % 1]
    assert listed(f"account={NAMED}") == [ID % 4]
    assert listed("state=undelivered") == []
    assert served.fetch("/queue/events?most=1").json["has_more"]
    served.until_no_events()


def test_a_waiting_event_can_be_dropped_and_one_that_runs_cannot(served: Gateway) -> None:
    send_three(served)
    assert drop(served, 2).json == {"request_id": ID % 2, "dropped": 1, "running": 0}
    refused = drop(served, 1)
    assert (refused.status, refused.json["error"][:52]) == (409, f"Event {ID % 1} is being ")
    assert served.fetch("/queue").json["events"] == 2
    served.until_no_events()
    assert [(call.header(b"x-amzn-requestid") or b"").decode() for call in served.forwarded()] == [ID % 1, ID % 3]
    gone = drop(served, 2)
    assert gone.status == 404
    assert gone.json["error"].startswith(f"Event {ID % 2} has ended: dropped (DroppedByHand), ")
    unknown = drop(served, 9)
    assert (unknown.status, unknown.json["error"].startswith(f"There is no event {ID % 9}: it has run")) == (404, True)


def test_an_event_that_waits_for_its_retry_can_be_tried_now(served: Gateway) -> None:
    failures = 1

    async def script(call: Any) -> None:
        nonlocal failures
        failures -= 1
        call.answer(200, b"{}", {"X-Amz-Function-Error": "Unhandled"} if failures >= 0 else {})

    served.backend.script = script
    send(served, 1, "echo")
    served.until(lambda: served.server.gateway.events.totals.retries, "it has failed once")
    (row,) = served.fetch(f"/queue/events?request_id={ID % 1}").json["events"]
    assert (row["state"], row["runs"], row["answer"]["function_error"]) == ("retrying", 1, "Unhandled")
    assert 50 < row["due_in_seconds"] <= 60
    assert retry(served, 1).json == {"request_id": ID % 1, "retried": 1, "running": 0}
    served.until_no_events()
    assert len(served.forwarded()) == 2


def test_a_page_of_another_origin_can_retry_nothing(served: Gateway) -> None:
    """It may send forms and plain text without asking, but no JSON, and no DELETE."""
    send_three(served)
    assert retry(served, 2, "Content-Type: text/plain").status == 415
    assert ask(served, f"/queue/events/{ID % 2}", "POST").status == 405
    served.until_no_events()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/queue?rows=many", "rows must be a number from 0 to 100000."),
        ("/queue?row=1", "The query has no key 'row'. Its keys are rows."),
        ("/queue/events?request_id=1", "'1' is no request id. Send the UUID"),
        (f"/queue/events?request_id={ID % 1}&function=f", "request_id excludes account, function and state."),
        ("/queue/events?function=a/b", "function must be a plain function name"),
        ("/queue/events?state=lost", "state must be one of waiting, retrying, running, delivering, undelivered, held."),
        ("/queue/events?most=101", "most must be a number from 1 to 100."),
        ("/queue/events?payload=1", "payload must be true or false."),
    ],
)
def test_a_question_that_makes_no_sense_is_told_what_would(served: Gateway, path: str, says: str) -> None:
    answer = served.fetch(path)
    assert answer.status == 400
    assert answer.json["error"].startswith(says)


def test_what_is_no_request_id_is_not_looked_for(served: Gateway) -> None:
    assert ask(served, "/queue/events/%1b%5b2J", "DELETE").json["error"].startswith("'\\x1b[2J' is no request id.")


def test_a_store_that_cannot_be_read_is_said_in_its_own_words(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> Any:
        raise StoreError("unavailable", "It is away. Start it.")

    store = served.server.gateway.events.dispatcher.store  # type: ignore[union-attr]  # there is a queue
    for name in ("find", "oldest", "backlog"):
        monkeypatch.setattr(store, name, fail)
    for answer in (served.fetch("/queue/events"), drop(served, 1), retry(served, 1)):
        assert (answer.status, answer.json) == (503, {"error": "It is away. Start it."})
    assert served.fetch("/queue").json["trouble"] == "It is away. Start it."


def test_trouble_is_told_beside_what_is_known(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QueueMonitor, "problem", "The disk is full.")
    assert served.fetch("/queue").json["trouble"] == "The disk is full."


def test_where_the_backend_has_the_queue_it_is_said() -> None:
    with gateway(**{"async": {"mode": "forward"}}) as served:
        document = served.fetch("/queue").json
        assert (document["mode"], document["store"], document["functions"]) == ("forward", None, [])
        for answer in (served.fetch("/queue/events"), drop(served, 1), retry(served, 1)):
            assert answer.status == 409
            assert answer.json["error"].startswith("Events go to the backend (async.mode: forward)")


# Documents


def make(body: bytes = b"{}", **more: Any) -> Event:
    return Event(ID % 1, ACCOUNT, "f", "arn", b"/", b"", [], body, 1.0, 1.0, f"{ACCOUNT}/function/f", key=1, **more)


def test_an_event_that_has_ended_says_how_and_who_is_to_be_told() -> None:
    answer = FunctionAnswer(200, b'{"errorMessage": "no"}', "Unhandled", "$LATEST")
    outcome = Outcome("RetriesExhausted", 5.0, 200, "no", answer, ("dead_letter_queue",), 10, "nobody is there")
    (row,) = describe_all([EventStatus(make(outcome=outcome), "undelivered", False)], True, NOW)
    assert row["outcome"] | {"ended_seconds_ago": 0} == {
        "condition": "RetriesExhausted",
        "ended_seconds_ago": 0,
        "error_code": 200,
        "error_message": "no",
        "pending": ["dead_letter_queue"],
        "tries": 10,
        "trouble": "nobody is there",
    }
    assert row["answer"]["payload"] == '{"errorMessage": "no"}'
    assert row["due_in_seconds"] is None


def test_a_payload_that_is_no_text_is_told_as_base64_and_many_are_not_told_whole() -> None:
    (row,) = describe_all([EventStatus(make(b"\xff\x00"), "waiting", False)], True, NOW)
    assert row["payload_base64"] == "/wA="
    rows = describe_all([EventStatus(make(b"x" * 9_000_000), "waiting", False)] * 2, True, NOW)
    assert [("payload" in row, row.get("payload_left_out")) for row in rows] == [(True, None), (False, True)]


def test_an_event_that_ended_is_in_the_history_and_in_the_queue_and_its_id_says_so(served: Gateway) -> None:
    send(served, 1, "echo")
    served.until_no_events()
    (row,) = served.fetch("/queue/history").json["events"]
    assert (row["request_id"], row["function"], row["end"], row["attempts"]) == (ID % 1, "echo", "succeeded", 1)
    assert (row["condition"], row["error"], row["error_code"], row["delivery"]) == ("Success", "", None, None)
    assert 0 <= row["run_seconds"] <= row["age_seconds"]
    assert row["ended_seconds_ago"] >= 0
    document = served.fetch("/queue").json
    assert (document["last_ended"]["request_id"], document["last_failed"]) == (ID % 1, None)
    unknown = served.fetch(f"/queue/events?request_id={ID % 1}")
    assert unknown.status == 404
    assert unknown.json["error"].startswith(f"Event {ID % 1} has ended: succeeded (Success), 0.")
    assert retry(served, 1).json["error"].startswith(f"Event {ID % 1} has ended")
    assert served.fetch("/queue/history?failed=true").json["events"] == []
    assert served.fetch("/queue/history?end=succeeded&function=echo&most=1").json["events"][0]["request_id"] == ID % 1
    assert served.fetch("/queue/history?function=other").json["events"] == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("most=0", "most must be a number from 1 to 100."),
        ("most=101", "most must be a number from 1 to 100."),
        ("end=lost", "end must be one of succeeded, failed, expired, dropped, undelivered."),
        ("failed=1", "failed must be true or false"),
        ("state=waiting", "The query has no key 'state'."),
    ],
)
def test_a_wrong_question_for_the_history_names_its_key(served: Gateway, query: str, error: str) -> None:
    answer = served.fetch(f"/queue/history?{query}")
    assert (answer.status, answer.json["error"][: len(error)]) == (400, error)


def test_where_the_backend_has_the_events_there_is_no_history() -> None:
    with gateway(**{"async": {"mode": "forward"}}) as forwarding:
        assert forwarding.fetch("/queue/history").status == 409
        assert forwarding.fetch("/queue").json["last_ended"] is None
