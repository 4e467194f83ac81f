"""The admin listener: health, readiness, metrics, limits, holds; and that it is a world of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from invoke_gateway.app.gateway import Gateway as Application
from invoke_gateway.settings import Address, Settings
from tests.support.sockets import Answer, Gateway, Wire, gateway, invoke

READ_ONLY = ("/", "/live", "/refusals", "/metrics", "/healthz", "/readyz", "/limits", "/in-flight")
PATHS = (*READ_ONLY, "/holds", "/holds/1", "/faults", "/faults/1")


HOLDABLE = {"default": {"concurrent_executions": 5, "functions": {"checkout": {"reserved_concurrent_executions": 2}}}}
JSON = "Content-Type: application/json"


@pytest.fixture
def holdable() -> Iterator[Gateway]:
    """A gateway with two slots for `checkout` and three for all others."""
    with gateway(accounts=HOLDABLE) as started:
        yield started


def ask(served: Gateway, method: str, path: str, body: bytes = b"", *headers: str) -> Answer:
    """What the admin listener says to a request with a body."""
    with Wire(served.server.admin.port) as wire:
        return wire.send(invoke("", body, *headers, method=method, path=path)).answer()


def hold(served: Gateway, **wanted: Any) -> Answer:
    return ask(served, "POST", "/holds", json.dumps(wanted).encode(), JSON)


def invoke_with_boto3(served: Gateway, function: str) -> str:
    """`200`, or the error's code and reason, as a real SDK reads them."""
    with contextlib.closing(served.boto3()) as client:
        try:
            return str(client.invoke(FunctionName=function)["StatusCode"])
        except client.exceptions.TooManyRequestsException as error:
            return f"{error.response['Error']['Code']} {error.response['Reason']}"


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


def test_health_says_that_the_process_serves(served: Gateway) -> None:
    answer = served.fetch("/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_ready_and_the_backend_is_up(served: Gateway) -> None:
    answer = served.fetch("/readyz")
    listen = str(served.server.listen)
    assert (answer.status, answer.json) == (200, {"ready": True, "listen": listen, "backend": "up"})
    assert b"\ninvoke_gateway_backend_up 1" in served.fetch("/metrics").body


def test_ready_without_its_backend_whose_state_is_in_the_body_and_in_the_metrics() -> None:
    """Else a balancer takes the only gateway away just when events are to be kept."""
    with gateway(backend={"url": "http://127.0.0.1:1"}) as alone:
        assert b"\ninvoke_gateway_backend_up " not in alone.fetch("/metrics").body, "not looked for yet"
        answer = alone.fetch("/readyz")
        assert (answer.status, answer.json["ready"], answer.json["backend"]) == (200, True, "down")
        assert answer.json["backend_error"].startswith("The backend refused the connection.")
        assert alone.fetch("/healthz").status == 200
        assert b"\ninvoke_gateway_backend_up 0" in alone.fetch("/metrics").body
        with Wire(alone.port) as wire:
            event = wire.send(invoke("echo", b"{}", "X-Amz-Invocation-Type: Event")).answer()
            assert event.status == 202


def test_a_store_of_events_that_cannot_keep_any_is_in_the_body(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = served.server.gateway.events.monitor
    assert queue is not None
    monkeypatch.setattr(type(queue), "problem", property(lambda _: "The disk is full."))
    answer = served.fetch("/readyz")
    assert (answer.status, answer.json["ready"]) == (200, True)
    assert answer.json["events_error"] == "The disk is full."


def test_not_ready_while_it_drains(served: Gateway) -> None:
    served.server.gateway.is_draining = True
    try:
        answer = served.fetch("/readyz")
        assert (answer.status, answer.json["ready"], answer.json["why"]) == (503, False, "The gateway is draining.")
        assert served.fetch("/limits").json["draining"] is True
    finally:
        served.server.gateway.is_draining = False


def test_metrics_come_in_the_format_that_was_asked_for(served: Gateway) -> None:
    plain = served.fetch("/metrics")
    assert (plain.header("content-type") or "").startswith("text/plain")
    openmetrics = served.fetch("/metrics", "GET", "Accept: application/openmetrics-text; version=1.0.0")
    assert (openmetrics.header("content-type") or "").startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "", "²", "1e3", "9" * 5000])
def test_a_number_of_rows_that_is_none_is_refused(served: Gateway, number: str) -> None:
    answer = served.fetch(f"/limits?functions={quote(number)}")
    assert answer.status == 400
    assert "is not a number. Send the number of rows." in answer.json["error"]


@pytest.mark.parametrize("path", ["/metrics/", "/limits/x", "/2015-03-31/functions/echo/invocations"])
def test_there_is_nothing_else(served: Gateway, path: str) -> None:
    served.forget()
    assert served.fetch(path).status in (307, 404)
    assert served.forwarded() == []


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_it_is_reached_through_the_invoke_listener(served: Gateway, path: str) -> None:
    """There such a path is the backend's, like any other."""
    served.forget()
    body = served.send(invoke(path=path, method="GET", body=b"from the backend")).body
    assert body == b"from the backend"
    assert [call.target.decode() for call in served.forwarded()] == [path]


@pytest.mark.parametrize("path", READ_ONLY)
def test_only_reading_is_allowed(served: Gateway, path: str) -> None:
    assert served.fetch(path, "POST").status == 405
    assert served.fetch(path, "HEAD").status == 200


def test_the_limits_document_is_json_all_through(served: Gateway) -> None:
    document = json.loads(served.fetch("/limits").body)
    assert list(document) == ["accounts", "draining"]
    assert [account["account"] for account in document["accounts"]] == ["000000000000"]


def test_a_function_held_to_its_reservation_is_throttled_until_the_hold_is_deleted(holdable: Gateway) -> None:
    taken = hold(holdable, function="checkout", slots=2)
    assert taken.status == 201
    assert taken.header("location") == f"/holds/{taken.json['id']}"
    document = taken.json
    assert 25 < document.pop("seconds_left") <= 30
    assert document == {"id": "1", "account": "000000000000", "function": "checkout", "slots": 2}
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert invoke_with_boto3(holdable, "checkout") == f"TooManyRequestsException {reason}"
    assert invoke_with_boto3(holdable, "report") == "200"
    deleted = ask(holdable, "DELETE", "/holds/1")
    assert (deleted.status, deleted.body) == (204, b"")
    assert invoke_with_boto3(holdable, "checkout") == "200"


def test_every_other_function_is_throttled_while_the_pool_is_held(holdable: Gateway) -> None:
    id = hold(holdable, slots=3).json["id"]
    reason = "ConcurrentInvocationLimitExceeded"
    assert invoke_with_boto3(holdable, "report") == f"TooManyRequestsException {reason}"
    assert invoke_with_boto3(holdable, "checkout") == "200"
    assert ask(holdable, "DELETE", f"/holds/{id}").status == 204
    assert invoke_with_boto3(holdable, "report") == "200"


def test_all_holds_are_listed_in_the_order_in_which_they_were_taken(holdable: Gateway) -> None:
    assert holdable.fetch("/holds").json == {"holds": []}
    hold(holdable, function="checkout", seconds=3600)
    hold(holdable, slots=2, account="999999999999")
    holds = holdable.fetch("/holds").json["holds"]
    assert [(held["id"], held["account"], held["function"], held["slots"]) for held in holds] == [
        ("1", "000000000000", "checkout", 1),
        ("2", "000000000000", None, 2),
    ]


def test_a_hold_without_room_is_a_conflict_and_takes_nothing(holdable: Gateway) -> None:
    hold(holdable, function="checkout")
    answer = hold(holdable, function="checkout", slots=2)
    document = answer.json
    assert answer.status == 409
    assert "no room for 2 slots of checkout: 1 of 2 in use, 1 free. Hold fewer" in document.pop("error")
    assert document == {"limit": "reserved_concurrent_executions", "in_use": 1, "ceiling": 2}
    assert holdable.held() == {"000000000000/function/checkout": 1, "000000000000/account": 1}


def test_a_hold_is_over_when_the_gateway_ends() -> None:
    with gateway() as ending:
        hold(ending, slots=3)
        application = ending.server.gateway
        assert application.holds.by_counter().total() > 0
    assert application.counters.counts() == application.holds.by_counter() == {}


def test_a_hold_that_does_not_exist_is_not_found_and_it_says_where_to_look(served: Gateway) -> None:
    answer = ask(served, "DELETE", "/holds/77")
    assert answer.status == 404
    assert answer.json == {
        "error": "There is no hold '77': it has ended, or never existed. GET /holds lists all holds."
    }


@pytest.mark.parametrize("headers", [(), ("Content-Type: text/plain",), ("Content-Type: application/json5",)])
def test_a_hold_must_be_sent_as_json_which_no_page_of_another_origin_may(
    served: Gateway, headers: tuple[str, ...]
) -> None:
    answer = ask(served, "POST", "/holds", b"{}", *headers)
    assert (answer.status, "Send it with Content-Type: application/json." in answer.json["error"]) == (415, True)
    assert served.fetch("/holds").json == {"holds": []}


def test_the_type_of_a_hold_may_have_parameters_and_capitals(served: Gateway) -> None:
    answer = ask(served, "POST", "/holds", b"{}", "Content-Type: Application/JSON; charset=utf-8")
    assert answer.status == 201
    assert ask(served, "DELETE", f"/holds/{answer.json['id']}").status == 204


@pytest.mark.parametrize("body", [b"", b'{"slots": 0}', b'{"\\ud800": 1}', b'{"x\\u0000": 1}'])
def test_what_is_no_hold_is_a_bad_request_and_says_why(served: Gateway, body: bytes) -> None:
    answer = ask(served, "POST", "/holds", body, JSON)
    assert answer.status == 400
    assert answer.json["error"].endswith(".") or "leave it out" in answer.json["error"]


def test_a_hold_of_more_than_64_kib_is_too_large(served: Gateway) -> None:
    at_most = b'{"slots": 0}'.ljust(64 * 1024)
    assert ask(served, "POST", "/holds", at_most, JSON).status == 400
    assert ask(served, "POST", "/holds", at_most + b" ", JSON).status == 413


def test_nothing_is_held_while_it_drains(served: Gateway) -> None:
    served.server.gateway.is_draining = True
    try:
        answer = hold(served)
        assert (answer.status, answer.json["error"][:24]) == (503, "The gateway is draining.")
    finally:
        served.server.gateway.is_draining = False


@pytest.mark.parametrize(("method", "path"), [("PUT", "/holds"), ("DELETE", "/holds"), ("GET", "/holds/1")])
def test_holds_have_no_other_methods(served: Gateway, method: str, path: str) -> None:
    assert ask(served, method, path).status == 405


async def test_a_client_that_hangs_up_within_its_hold_takes_nothing() -> None:
    application = Application(Settings(), backend_url="http://127.0.0.1:9")
    scope = {"type": "http", "method": "POST", "path": "/holds", "headers": [(b"content-type", b"application/json")]}
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await application.admin.make_app(Address("127.0.0.1", 9001)).app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert application.holds.describe_all() == []
    await application.close()
