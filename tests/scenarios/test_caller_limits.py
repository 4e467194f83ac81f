"""A caller with limits of its own, by an access key that is only read, and by a verified one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.sockets import Answer, Gateway, Wire, gateway, invoke
from tests.support.stores import running_store

ACCOUNT = "111122223333"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
CALLERS: dict[str, Any] = {
    "AKIAALICE": {"arn": ALICE, "concurrent_executions": 2},
    "AKIAALICENEW": {"arn": ALICE},
    "AKIABOB": {"concurrent_executions": 0},
    "AKIACAROL": {"requests_per_second": 1},
}
RATE = {"default": {"caller_requests_per_second": 1000, "requests_per_second": "off"}}


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(callers=CALLERS, accounts=RATE) as started:
        yield started


class Calls:
    """Sends invocations with boto3, each from a thread of its own."""

    def __init__(self, served: Gateway, pool: ThreadPoolExecutor, stack: ExitStack) -> None:
        self._served = served
        self._pool = pool
        self._stack = stack

    def start(self, access_key_id: str, function: str) -> Future[int]:
        client = self._served.boto3(access_key_id)
        self._stack.callback(client.close)

        def send() -> int:
            answer = client.invoke(FunctionName=function, Payload=b"{}")
            answer["Payload"].read()
            return int(answer["StatusCode"])

        return self._pool.submit(send)


@contextmanager
def calls(served: Gateway) -> Iterator[Calls]:
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(8))
        stack.callback(served.release)
        yield Calls(served, pool, stack)


def authorization(access_key_id: str) -> str:
    credential = f"{access_key_id}/20250101/us-east-1/lambda/aws4_request"
    return f"Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"


def call(served: Gateway, access_key_id: str, function: str = "echo", *headers: str) -> Answer:
    return served.send(invoke(function, b"{}", authorization(access_key_id), *headers))


def refuse(served: Gateway, access_key_id: str, function: str = "echo") -> Any:
    """Returns the error of boto3, which must be the typed one."""
    client = served.boto3(access_key_id)
    try:
        with pytest.raises(client.exceptions.TooManyRequestsException) as raised:
            client.invoke(FunctionName=function, Payload=b"{}")
        return raised.value.response
    finally:
        client.close()


def caller_rows(served: Gateway) -> dict[str, tuple[int, int]]:
    (account,) = served.fetch("/limits").json["accounts"]
    return {row["caller"]: (row["in_flight"], row["ceiling"]) for row in account.get("callers", ())}


def test_a_caller_at_its_limit_is_throttled_over_its_keys_and_functions_and_nobody_else_is(served: Gateway) -> None:
    with calls(served) as begun:
        first, second = begun.start("AKIAALICE", "hold-a"), begun.start("AKIAALICENEW", "hold-b")
        served.until_running(2)
        for key in ("AKIAALICE", "AKIAALICENEW"):
            error = refuse(served, key, "anything")
            assert error["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert error["Type"] == "User"
            decision = error["ResponseMetadata"]["HTTPHeaders"]["x-invoke-gateway-decision"]
            assert decision == 'limit="caller_concurrent_executions", in-use=2, ceiling=2'
        for other in ("AKIACAROL", "AKIAUNKNOWN"):
            assert call(served, other).status == 200
        assert served.send(invoke("echo")).status == 200
        assert caller_rows(served) == {ALICE: (2, 2), "AKIABOB": (0, 0)}
        refused = served.fetch("/refusals").json["refusals"][0]
        assert refused["limit"] == "caller_concurrent_executions"
        assert (refused["in_use"], refused["ceiling"]) == (2, 2)
        assert {row["function"] for row in refused["occupied_by"]} == {"hold-a", "hold-b"}
        text = served.fetch("/metrics").body.decode()
        labels = f'{{account="000000000000",caller="{ALICE}"}}'
        assert f"invoke_gateway_caller_concurrent_executions{labels} 2\n" in text
        assert f"invoke_gateway_caller_concurrent_executions_limit{labels} 2\n" in text
        full = served.fetch("/status").json["nearly_full"]
        assert [(row["limit"], row["caller"]) for row in full] == [("caller_concurrent_executions", ALICE)]
        served.release()
        assert {first.result(), second.result()} == {200}
    served.until_idle()
    assert call(served, "AKIAALICE").status == 200


def test_zero_refuses_every_call_of_the_caller(served: Gateway) -> None:
    assert refuse(served, "AKIABOB")["Reason"] == "ConcurrentInvocationLimitExceeded"
    answer = call(served, "AKIABOB")
    assert answer.header("x-invoke-gateway-decision") == 'limit="caller_concurrent_executions", in-use=0, ceiling=0'
    assert answer.header("retry-after") is None  # no wait helps
    assert served.held() == {}


def test_the_callers_rate_wins_over_the_accounts(served: Gateway) -> None:
    assert call(served, "AKIACAROL").status == 200
    assert refuse(served, "AKIACAROL")["Reason"] == "CallerRateLimitExceeded"
    for _ in range(3):  # by the account's default
        assert call(served, "AKIAALICE").status == 200


def test_events_of_a_caller_do_not_use_its_slots(served: Gateway) -> None:
    answer = call(served, "AKIABOB", "echo", "X-Amz-Invocation-Type: Event")
    assert answer.status == 202
    served.until_no_events()
    assert served.fetch("/queue/history").json["events"][0]["end"] == "succeeded"


def test_a_dry_run_takes_no_slot_of_a_caller(served: Gateway) -> None:
    assert call(served, "AKIABOB", "echo", "X-Amz-Invocation-Type: DryRun").status != 429


def test_a_reload_counts_the_calls_that_run(served: Gateway) -> None:
    with calls(served) as begun:
        begun.start("AKIAALICE", "hold-a")
        begun.start("AKIAALICE", "hold-b")
        served.until_running(2)
        served.reload(callers={"AKIAALICE": {"arn": ALICE, "concurrent_executions": 3}})
        with Wire(served.port) as wire:
            wire.send(invoke("hold-c", b"{}", authorization("AKIAALICE")))
            served.until_running(3)
            assert call(served, "AKIAALICE").status == 429
            served.reload(callers={"AKIAALICE": {"arn": ALICE, "concurrent_executions": 1}})
            decision = call(served, "AKIAALICE").header("x-invoke-gateway-decision")
            assert decision == 'limit="caller_concurrent_executions", in-use=3, ceiling=1'
            served.reload()
            served.release()
            assert wire.answer().status == 200
    served.until_idle()


def test_a_verified_caller_has_the_limit_of_its_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    callers = {
        "AKIAALICE": {"arn": ALICE, "secret": "env:SECRET"},
        "AKIAALICENEW": {"arn": ALICE, "secret": "env:SECRET"},
        ALICE: {"concurrent_executions": 1},
    }
    accounts = {**RATE, ACCOUNT: {"concurrent_executions": 5}}
    with gateway(signatures="verify", callers=callers, accounts=accounts) as served, calls(served) as begun:
        running = begun.start("AKIAALICE", "hold-a")
        served.until_running(1)
        for key in ("AKIAALICE", "AKIAALICENEW"):
            error = refuse(served, key)
            decision = error["ResponseMetadata"]["HTTPHeaders"]["x-invoke-gateway-decision"]
            assert decision == 'limit="caller_concurrent_executions", in-use=1, ceiling=1'
        by_account = {part["account"]: part.get("callers") for part in served.fetch("/limits").json["accounts"]}
        assert by_account["000000000000"] == []
        assert [(row["caller"], row["in_flight"]) for row in by_account[ACCOUNT]] == [(ALICE, 1)]
        assert served.held()[f"{ACCOUNT}/caller/{ALICE}"] == 1
        served.release()
        assert running.result() == 200


def test_gateways_on_one_store_enforce_the_limit_of_a_caller_together() -> None:
    with running_store("valkey") as store:
        shared = {"counters": store.url, "callers": CALLERS, "accounts": RATE, "async": {"mode": "forward"}}
        shared["shared"] = {"expected_gateways": 2, "lease_seconds": 4}
        with gateway(**shared) as one, gateway(**shared) as other, calls(one) as here, calls(other) as there:
            for each in (one, other):
                each.until(lambda served=each: served.server.gateway.shared.trouble is None, "the counters count")
            first, second = here.start("AKIAALICE", "hold-a"), there.start("AKIAALICENEW", "hold-b")
            one.until_running(1)
            other.until_running(1)
            for each in (one, other):
                answer = call(each, "AKIAALICE")
                decision = 'limit="caller_concurrent_executions", in-use=2, ceiling=2'
                assert answer.header("x-invoke-gateway-decision") == decision
            assert caller_rows(other)[ALICE] == (2, 2)
            one.release()
            other.release()
            assert (first.result(), second.result()) == (200, 200)
