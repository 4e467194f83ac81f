"""Whose limits apply, and that invented names buy nothing."""

from __future__ import annotations

import pytest

from invoke_gateway.middleware.authenticate import Authenticate
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from tests.middleware.stages import Inside, drive, make_exchange
from tests.support.sockets import Gateway, Wire, gateway, invoke, refusal_of

KNOWN = "111122223333"
ALSO_KNOWN = "444455556666"
ECHO_OF = "/2015-03-31/functions/arn:aws:lambda:us-east-1:{}:function:echo/invocations"


def make_limits(**rates: float) -> Limits:
    return Limits(
        AccountLimits("000000000000", 10, {"checkout": FunctionLimits(2)}, **rates),
        {KNOWN: AccountLimits(KNOWN, 5, **rates), ALSO_KNOWN: AccountLimits(ALSO_KNOWN, 5, **rates)},
        {"AKIAKNOWN": KNOWN, "local.user@example": ALSO_KNOWN},
    )


def signed(access_key_id: str) -> tuple[tuple[str, str], ...]:
    credential = f"{access_key_id}/20250101/us-east-1/lambda/aws4_request"
    return (("authorization", f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"),)


async def account_of(access_key_id: str | None, path: str | None = None) -> str:
    inside = Inside()
    exchange = make_exchange(*([path] if path else []), headers=signed(access_key_id) if access_key_id else ())
    await drive(Authenticate(inside, limits=make_limits), exchange)
    plan = inside.exchanges[0].plan
    assert plan is not None
    return plan.account


@pytest.mark.parametrize(
    ("access_key_id", "account"),
    [
        (None, "000000000000"),
        ("AKIAKNOWN", KNOWN),
        ("local.user@example", ALSO_KNOWN),
        (KNOWN, KNOWN),
        ("AKIAINVENTED", "000000000000"),
        ("999999999999", "000000000000"),
        ("000000000000", "000000000000"),
    ],
)
async def test_the_access_key_id_says_whose_limits_apply(access_key_id: str | None, account: str) -> None:
    """By the credentials table, or as the account itself; whom the settings do not name shares the default pool."""
    assert await account_of(access_key_id) == account


@pytest.mark.parametrize(("named", "account"), [(ALSO_KNOWN, ALSO_KNOWN), ("999999999999", "000000000000")])
async def test_the_account_in_the_arn_goes_before_the_callers(named: str, account: str) -> None:
    assert await account_of("AKIAKNOWN", ECHO_OF.format(named)) == account


async def test_what_is_no_invocation_has_no_plan() -> None:
    inside = Inside()
    await drive(Authenticate(inside, limits=make_limits), make_exchange("/2015-03-31/functions", signed("AKIAKNOWN")))
    assert inside.exchanges[0].plan is None


async def test_a_request_keeps_the_limits_that_it_found() -> None:
    """A reload while its body is read does not reach it."""
    inside = Inside()
    tables = [make_limits(), Limits(AccountLimits("000000000000", 99))]
    stage = Authenticate(inside, limits=lambda: tables[0])
    await drive(stage, make_exchange())
    kept = inside.exchanges[0].plan
    tables.pop(0)
    await drive(stage, make_exchange())
    assert kept is not None
    assert [claim.ceiling for claim in kept.lanes[0].claims if claim.counter.endswith("/account")] == [10]
    assert inside.exchanges[1].plan != kept


async def test_callers_that_the_settings_know_have_a_rate_each_and_all_others_share_one() -> None:
    buckets = []
    for access_key_id in ("AKIAKNOWN", KNOWN, "AKIAINVENTED", "999999999999", None):
        inside = Inside()
        headers = signed(access_key_id) if access_key_id else ()
        stage = Authenticate(inside, limits=lambda: make_limits(caller_requests_per_second=1))
        await drive(stage, make_exchange(headers=headers))
        plan = inside.exchanges[0].plan
        assert plan is not None
        buckets.append(plan.rates[-1].bucket)
    assert buckets == [
        f"{KNOWN}/caller/AKIAKNOWN",
        f"{KNOWN}/caller/{KNOWN}",
        "000000000000/caller/",
        "000000000000/caller/",
        "000000000000/caller/",
    ]


def authorization(access_key_id: str) -> str:
    ((_, value),) = signed(access_key_id)
    return f"Authorization: {value}"


def test_an_invented_account_mints_no_capacity() -> None:
    """The one slot of the default account is taken, whatever the next caller calls itself or its function."""
    one = {"concurrent_executions": 1}
    with gateway(accounts={"default": one, KNOWN: one}) as served, Wire(served.port) as wire:
        wire.send(invoke("hold", b"{}", authorization("AKIAINVENTED")))
        served.until_running(1)
        for access_key_id in ("999999999999", "AKIAOTHER", "000000000000"):
            assert served.send(invoke("echo", b"{}", authorization(access_key_id))).status == 429
        arn = "arn:aws:lambda:us-east-1:888888888888:function:echo"
        answer = served.send(invoke(arn, b"{}", authorization(KNOWN)))
        assert answer.json["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert served.send(invoke("echo", b"{}", authorization(KNOWN))).status == 200
        served.release()
        assert wire.answer().status == 200


def test_an_invented_caller_mints_no_rate() -> None:
    """All whom nobody knows have one bucket together; a caller that the settings name has its own."""
    limited = {"caller_requests_per_second": 1, "requests_per_second": "off"}
    with gateway(accounts={"default": limited, KNOWN: limited}, credentials={"AKIAKNOWN": KNOWN}) as served:
        assert served.send(invoke("echo", b"{}", authorization("AKIAFIRST"))).status == 200
        for access_key_id in ("AKIASECOND", "999999999999"):
            answer = served.send(invoke("echo", b"{}", authorization(access_key_id)))
            assert refusal_of(answer) == (429, "TooManyRequestsException", "Rate exceeded")
            assert answer.json["Reason"] == "CallerRateLimitExceeded"
        assert served.send(invoke("echo", b"{}", authorization("AKIAKNOWN"))).status == 200


# ---- presigned ------------------------------------------------------------------------------------------------


def presign(served: Gateway, access_key_id: str, function: str, operation: str = "invoke") -> str:
    """The path and query that botocore signs for one minute."""
    client = served.boto3(access_key_id)
    try:
        url = client.generate_presigned_url(operation, Params={"FunctionName": function}, ExpiresIn=60)
    finally:
        client.close()
    return url.removeprefix(served.url)


@pytest.mark.parametrize("operation", ["invoke", "invoke_with_response_stream"])
def test_a_presigned_call_is_counted_for_its_account(operation: str) -> None:
    """As botocore signs it. Three at once of an account with one slot: one runs."""
    one = {"concurrent_executions": 1}
    with gateway(accounts={"default": {"concurrent_executions": 10}, KNOWN: one}) as served:
        target = presign(served, KNOWN, "hold", operation)
        assert "X-Amz-Credential=111122223333%2F" in target
        with Wire(served.port) as wire:
            wire.send(invoke(path=target))
            served.until_running(1)
            assert served.held()[f"{KNOWN}/account"] == 1
            for _ in range(2):
                answer = served.send(invoke(path=target))
                assert answer.json["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert served.send(invoke("echo", b"{}", authorization(KNOWN))).status == 429
            served.release()
            assert wire.answer().status == 200
        served.until_idle()
        assert served.held() == {}


def test_a_request_with_two_access_keys_is_refused() -> None:
    """Signed twice it could be counted for one account and run for the other. The connection stays open."""
    named = {KNOWN: {"concurrent_executions": 1}, ALSO_KNOWN: {"concurrent_executions": 1}}
    with gateway(accounts=named) as served, Wire(served.port) as wire:
        twice = invoke("echo", b"{}", authorization(ALSO_KNOWN), path=presign(served, KNOWN, "echo"))
        for _ in range(2):
            answer = wire.send(twice).answer()
            assert (answer.status, answer.header("x-amzn-errortype")) == (403, "InvalidSignatureException")
            assert answer.json == {
                "message": "The request names two access keys, in its Authorization header or its query. Sign it once."
            }
        same = invoke("echo", b"{}", authorization(KNOWN), path=presign(served, KNOWN, "echo"))
        assert wire.send(same).answer().status == 200
        assert served.held() == {}


def test_a_holder_of_a_slot_is_shown_with_the_presigned_access_key() -> None:
    with gateway() as served, Wire(served.port) as wire:
        wire.send(invoke(path=presign(served, "AKIAPRESIGNED", "hold")))
        served.until_running(1)
        (holder,) = served.fetch("/in-flight").json["holders"]
        assert holder["caller"] == "AKIAPRESIGNED"
        served.release()
        assert wire.answer().status == 200
