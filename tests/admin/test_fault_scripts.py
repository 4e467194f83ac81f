"""`/faults` on the admin listener: what is a script and what is not, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway.admin.fault_scripts import describe_step, read_script
from invoke_gateway.admin.json_documents import BadDocument
from invoke_gateway.policy import fault_script
from invoke_gateway.policy.fault_script import FaultStep
from invoke_gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS, find_error
from tests.support.sockets import Answer, Gateway, Wire, gateway, invoke

JSON = "Content-Type: application/json"
THROTTLE = "TooManyRequestsException"
REASON = "ReservedFunctionInvocationRateLimitExceeded"
STEPS: list[dict[str, Any]] = [
    {"pass": 2},
    {"error": THROTTLE, "reason": REASON},
    {"error": "EC2ThrottledException", "repeat": 3, "probability": 0.5},
    {"latency_seconds": 2.0},
    {"latency_seconds": 0.5, "cut_after_bytes": 40960},
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    accounts = {"default": {"concurrent_executions": 5}, "111122223333": {"concurrent_executions": 5}}
    with gateway(faults=True, accounts=accounts) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    yield shared
    assert ask(shared, "DELETE", "/faults").status == 204
    shared.until_idle()


def ask(served: Gateway, method: str, path: str, body: bytes = b"", *headers: str) -> Answer:
    with Wire(served.server.admin.port) as wire:
        return wire.send(invoke("", body, *headers, method=method, path=path)).answer()


def post(served: Gateway, **wanted: Any) -> Answer:
    return ask(served, "POST", "/faults", json.dumps(wanted).encode(), JSON)


def statuses(served: Gateway, function: str, calls: int) -> list[int]:
    return [served.send(invoke(function)).status for _ in range(calls)]


def test_all_keys_are_read_and_a_step_is_described_as_it_was_asked_for() -> None:
    document = {"function": "a.B-9_", "account": "111122223333", "seed": 2**53, "loop": True, "steps": STEPS}
    wanted = read_script(json.dumps(document).encode())
    assert (wanted.function, wanted.account, wanted.seed, wanted.loop) == ("a.B-9_", "111122223333", 2**53, True)
    assert wanted.steps == [
        FaultStep(2),
        FaultStep(error=find_error(THROTTLE, REASON)),
        FaultStep(3, 0.5, find_error("EC2ThrottledException")),
        FaultStep(latency_seconds=2.0),
        FaultStep(latency_seconds=0.5, cut_after_bytes=40960),
    ]
    assert [describe_step(step) for step in wanted.steps] == STEPS


def test_a_script_needs_no_more_than_its_steps() -> None:
    wanted = read_script(b'{"steps": [{"pass": 1}]}')
    assert (wanted.function, wanted.account, wanted.seed, wanted.loop) == (None, None, 0, False)


def test_passing_can_be_repeated_like_any_other_step() -> None:
    assert read_script(b'{"steps": [{"pass": 2, "repeat": 3}]}').steps == [FaultStep(6)]


def a_step(text: str) -> bytes:
    return b'{"function": "x", "steps": [{"pass": 1}, ' + text.encode() + b"]}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The body is no JSON. Send an object such as"),
        (b"[" * 60_000, "The body is no JSON."),
        (b"[]", "The body is no JSON object."),
        (b"{}", "steps is missing. Send an object such as"),
        (b'{"step": []}', "A fault script has no key 'step'. Its keys are function, account, seed, loop, steps."),
        (b'{"steps": []}', "steps must be a list of 1 to 500 objects"),
        (b'{"steps": {"pass": 1}}', "steps must be a list"),
        (b'{"steps": ["pass 1"]}', "steps must be a list"),
        (b'{"steps": [' + b",".join([b'{"pass": 1}'] * 501) + b"]}", "steps must be a list of 1 to 500"),
        (b'{"function": "a:b", "steps": [{"pass": 1}]}', "function must be a plain function name"),
        (b'{"account": "me"}', "account must be a text of 12 digits"),
        (b'{"seed": -1}', "seed must be a whole number"),
        (b'{"seed": 9007199254740993}', "seed must be"),
        (b'{"seed": 1.5}', "seed must be"),
        (b'{"loop": 1}', "loop must be true or false"),
        (a_step("{}"), "steps[1] does nothing. Give it one of pass, error, latency_seconds, cut_after_bytes."),
        (a_step('{"repeat": 2}'), "steps[1] does nothing."),
        (a_step('{"fail": 1}'), "A step has no key 'fail'. Its keys are pass, error, reason,"),
        (a_step('{"pass": 0}'), "steps[1].pass must be a whole number of calls from 1 to 1000000"),
        (a_step('{"pass": true}'), "steps[1].pass must be"),
        (a_step('{"pass": 1, "latency_seconds": 2}'), "steps[1] has pass and another key. Make two steps of it."),
        (a_step('{"error": "Nonsense"}'), "steps[1].error is 'Nonsense', which Invoke does not have. It has Code"),
        (
            a_step('{"error": "Throttled"}'),
            "steps[1].error is 'Throttled', which Invoke does not have. Did you mean TooManyRequestsException?",
        ),
        (a_step('{"error": "' + "x" * 99 + '"}'), f"steps[1].error is '{'x' * 64}', which"),
        (a_step('{"error": null}'), "steps[1].error must be the name of an exception"),
        (a_step('{"error": "TooManyRequestsException", "reason": "x"}'), "steps[1].reason must be one of"),
        (a_step(f'{{"error": "ServiceException", "reason": "{REASON}"}}'), "steps[1].reason belongs to TooMany"),
        (a_step(f'{{"latency_seconds": 1, "reason": "{REASON}"}}'), "steps[1].reason belongs to TooMany"),
        (a_step('{"error": "ServiceException", "cut_after_bytes": 1}'), "steps[1] has error and cut_after_bytes."),
        (a_step('{"latency_seconds": 0}'), "steps[1].latency_seconds must be a number above 0, at most 900"),
        (a_step('{"latency_seconds": 900.1}'), "steps[1].latency_seconds must be"),
        (a_step('{"latency_seconds": "2"}'), "steps[1].latency_seconds must be"),
        (a_step('{"cut_after_bytes": -1}'), "steps[1].cut_after_bytes must be a whole number of bytes from 0 to"),
        (a_step('{"cut_after_bytes": 209715201}'), "steps[1].cut_after_bytes must be"),
        (a_step('{"cut_after_bytes": 1, "repeat": 0}'), "steps[1].repeat must be a whole number of calls from 1"),
        (a_step('{"cut_after_bytes": 1, "probability": 0}'), "steps[1].probability must be a number above 0"),
        (a_step('{"cut_after_bytes": 1, "probability": 1.1}'), "steps[1].probability must be"),
    ],
    ids=lambda value: value[-40:].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_no_script_is_refused_with_the_key_and_the_cure(body: bytes, text: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read_script(body)
    assert str(caught.value).startswith(text)


def test_an_unknown_error_is_told_all_those_there_are_and_a_reason_all_six() -> None:
    with pytest.raises(BadDocument) as caught:
        read_script(a_step('{"error": "Nonsense"}'))
    assert all(name in str(caught.value) for name in ERROR_NAMES)
    with pytest.raises(BadDocument) as caught:
        read_script(a_step('{"error": "TooManyRequestsException", "reason": "CallerRateExceeded"}'))
    assert all(reason in str(caught.value) for reason in THROTTLE_REASONS)
    assert str(caught.value).endswith("Did you mean CallerRateLimitExceeded?")


def test_a_script_is_made_listed_run_and_ended(served: Gateway) -> None:
    made = post(served, function="checkout", seed=7, steps=[{"pass": 1}, {"error": "ServiceException", "repeat": 2}])
    id = made.json["id"]
    assert (made.status, made.header("location")) == (201, f"/faults/{id}")
    described = {
        "id": id,
        "account": "000000000000",
        "function": "checkout",
        "seed": 7,
        "loop": False,
        "steps": [{"pass": 1}, {"error": "ServiceException", "repeat": 2}],
        "calls": 0,
        "injected": 0,
        "position": 1,
        "is_over": False,
    }
    assert made.json == {**described, "replaced": None}
    assert served.fetch("/faults").json == {"faults": [described]}
    assert statuses(served, "checkout", 2) == [200, 500]
    progress = {"calls": 2, "injected": 1, "position": 2}
    assert served.fetch("/faults").json == {"faults": [{**described, **progress}]}
    assert statuses(served, "checkout", 2) == [500, 200]
    progress = {"calls": 3, "injected": 2, "position": None, "is_over": True}
    assert served.fetch("/faults").json == {"faults": [{**described, **progress}]}
    ended = ask(served, "DELETE", f"/faults/{id}")
    assert (ended.status, ended.body) == (204, b"")
    assert served.fetch("/faults").json == {"faults": []}


def test_ending_a_script_half_way_lets_calls_pass(served: Gateway) -> None:
    id = post(served, function="checkout", steps=[{"error": "ServiceException"}], loop=True).json["id"]
    assert statuses(served, "checkout", 3) == [500, 500, 500]
    assert ask(served, "DELETE", f"/faults/{id}").status == 204
    assert statuses(served, "checkout", 1) == [200]


def test_a_second_script_for_the_function_replaces_the_first_and_says_so(served: Gateway) -> None:
    first = post(served, function="checkout", steps=[{"error": "ServiceException", "repeat": 9}]).json["id"]
    second = post(served, function="checkout", steps=[{"error": "EFSIOException"}]).json
    assert second["replaced"] == first
    assert statuses(served, "checkout", 2) == [410, 200]
    assert [script["id"] for script in served.fetch("/faults").json["faults"]] == [second["id"]]


def test_a_script_without_a_function_is_for_all_of_the_account(served: Gateway) -> None:
    post(served, steps=[{"error": "ServiceException"}], loop=True)
    assert statuses(served, "checkout", 1) + statuses(served, "report", 1) == [500, 500]


def test_a_script_is_for_the_account_that_it_names_or_the_default_one(served: Gateway) -> None:
    named = "Authorization: AWS4-HMAC-SHA256 Credential=111122223333/x"
    made = post(served, function="checkout", account="111122223333", steps=[{"error": "ServiceException"}])
    assert made.json["account"] == "111122223333"
    assert statuses(served, "checkout", 1) == [200]
    assert served.send(invoke("checkout", b"{}", named)).status == 500
    unknown = post(served, function="checkout", account="999999999999", steps=[{"error": "ServiceException"}])
    assert unknown.json["account"] == "000000000000"
    assert statuses(served, "checkout", 1) == [500]


def test_a_script_survives_a_reload_where_it_was(served: Gateway) -> None:
    post(served, function="checkout", steps=[{"pass": 1}, {"error": "ServiceException"}])
    assert statuses(served, "checkout", 1) == [200]
    served.reload(accounts={"default": {"concurrent_executions": 2}})
    assert statuses(served, "checkout", 2) == [500, 200]


def test_a_script_that_does_not_exist_is_not_found_and_it_says_where_to_look(served: Gateway) -> None:
    answer = ask(served, "DELETE", "/faults/nine")
    text = "There is no fault script 'nine': it was ended or replaced, or never existed. GET /faults lists all."
    assert (answer.status, answer.json) == (404, {"error": text})


@pytest.mark.parametrize("headers", [(), ("Content-Type: text/plain",)])
def test_a_script_must_be_sent_as_json_which_no_page_of_another_origin_may(
    served: Gateway, headers: tuple[str, ...]
) -> None:
    answer = ask(served, "POST", "/faults", b'{"steps": [{"pass": 1}]}', *headers)
    assert (answer.status, "Send it with Content-Type: application/json." in answer.json["error"]) == (415, True)
    assert served.fetch("/faults").json == {"faults": []}


def test_a_bad_script_is_a_bad_request_and_a_long_one_too_large(served: Gateway) -> None:
    answer = post(served, steps=[{"error": "x"}])
    assert (answer.status, answer.json["error"][:17]) == (400, "steps[0].error is")
    at_most = b'{"steps": []}'.ljust(64 * 1024)
    assert ask(served, "POST", "/faults", at_most, JSON).status == 400
    answer = ask(served, "POST", "/faults", at_most + b" ", JSON)
    assert (answer.status, "Send fewer steps." in answer.json["error"]) == (413, True)


def test_no_script_is_taken_while_it_drains(served: Gateway) -> None:
    served.server.gateway.is_draining = True
    try:
        answer = post(served, steps=[{"pass": 1}])
        assert (answer.status, answer.json["error"][:24]) == (503, "The gateway is draining.")
    finally:
        served.server.gateway.is_draining = False


def test_there_is_an_end_to_scripts_that_are_not_over(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_script, "MOST_SCRIPTS", 1)
    post(served, function="checkout", steps=[{"pass": 1}])
    answer = post(served, function="report", steps=[{"pass": 1}])
    assert (answer.status, "the maximum. End some: DELETE /faults ends all." in answer.json["error"]) == (409, True)
    assert statuses(served, "checkout", 1) == [200]
    assert post(served, function="report", steps=[{"pass": 1}]).status == 201


@pytest.mark.parametrize(("method", "path"), [("PUT", "/faults"), ("GET", "/faults/1"), ("POST", "/faults/1")])
def test_scripts_have_no_other_methods(served: Gateway, method: str, path: str) -> None:
    assert ask(served, method, path).status == 405


def test_a_throttle_without_a_reason_follows_the_limits_in_force(served: Gateway) -> None:
    """AWS gives the reason of the function's kind of limit, and a reload may change that kind."""
    made = post(served, function="checkout", steps=[{"error": THROTTLE, "repeat": 3}])
    assert made.json["steps"] == [{"error": THROTTLE, "repeat": 3}]
    first = served.send(invoke("checkout"))
    assert (first.status, first.json["Reason"], first.json["message"]) == (
        429,
        "ConcurrentInvocationLimitExceeded",
        "Rate Exceeded.",
    )
    rules = {"concurrent_executions": 5, "unreserved_floor": 0}
    reserved = {"functions": {"checkout": {"reserved_concurrent_executions": 2}}}
    accounts = {"111122223333": {"concurrent_executions": 5}}
    served.reload(accounts={"default": rules | reserved, **accounts})
    assert served.send(invoke("checkout")).json["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    served.reload(accounts={"default": {"concurrent_executions": 5}, **accounts})
    assert served.send(invoke("checkout")).json["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert served.send(invoke("checkout")).status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/faults"), ("POST", "/faults"), ("DELETE", "/faults/1")])
def test_where_scripts_are_off_it_says_how_to_switch_them_on(method: str, path: str) -> None:
    with gateway() as off:
        answer = ask(off, method, path, b'{"steps": [{"error": "ServiceException"}]}', JSON)
        assert (answer.status, "Start the gateway with --faults" in answer.json["error"]) == (403, True)
        assert statuses(off, "checkout", 1) == [200]
