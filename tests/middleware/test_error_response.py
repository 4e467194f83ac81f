"""How a refusal reaches the client: with which headers, and also when the client is still uploading."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from time import time

import pytest

from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware import error_response as answer_stage
from invoke_gateway.middleware.error_response import DRAIN_BYTES, ErrorResponse
from invoke_gateway.policy.concurrency import LimitReached, pool_claim
from invoke_gateway.refusals import Refusal, render
from tests.middleware.stages import Inside, drive
from tests.support.backends import BackendCall
from tests.support.sockets import Gateway, Wire, chunked, gateway, invoke, refusal_of

CHUNKED = "Transfer-Encoding: chunked"
TOO_LARGE = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
CLOSED = {"closed": {"reserved_concurrent_executions": 0}}


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gateway(accounts={"default": {"functions": CLOSED}}) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    shared.forget()
    yield shared
    shared.until_idle()


# ---- the response ---------------------------------------------------------------------------------------------


def refusing(refusal: Refusal, retry_seconds: float | None = None, **values: object) -> Inside:
    def refuse(exchange: Exchange) -> None:
        exchange.refuse(refusal, **values)
        if retry_seconds is not None:
            exchange.full = LimitReached(pool_claim("a counter", 2), 2, 2, retry_seconds)

    return Inside(refuse)


async def test_a_refusal_is_sent_as_it_is_rendered() -> None:
    driven = await drive(ErrorResponse(refusing(Refusal.CONCURRENCY)))
    rendered = render(Refusal.CONCURRENCY)
    assert driven.head["status"] == rendered.status == driven.exchange.status
    assert driven.sent[1]["body"] == rendered.body
    assert set(rendered.headers) < set(driven.head["headers"])


async def test_without_a_refusal_nothing_is_sent() -> None:
    assert (await drive(ErrorResponse(Inside()))).sent == []


async def test_a_response_that_is_under_way_is_not_answered_again() -> None:
    def fail_late(exchange: Exchange) -> None:
        exchange.status = 200
        exchange.refuse(Refusal.INTERNAL)

    assert (await drive(ErrorResponse(Inside(fail_late)))).sent == []


RETRYABLE = [refusal for refusal in Refusal if refusal.status in (429, 500, 503)]


@pytest.mark.parametrize("refusal", Refusal)
async def test_throttles_and_our_own_5xx_say_when_to_come_back_and_nothing_else_does(refusal: Refusal) -> None:
    """Retry-After in whole seconds for some SDKs, x-amz-retry-after in milliseconds for others, about the same time."""
    values: dict[str, object] = {"text": "", "limit": 1, "in_use": 1, "size": 1, "seconds": 1, "region": "", "here": ""}
    values |= {"function": "", "until": "", "advice": ""}
    driven = await drive(ErrorResponse(refusing(refusal, retry_seconds=4, **values)))
    seconds, milliseconds = driven.header(b"retry-after"), driven.header(b"x-amz-retry-after")
    if refusal in RETRYABLE:
        assert 3000 <= int(milliseconds or 0) <= 6000
        assert int(seconds or 0) * 1000 - 1000 <= int(milliseconds or 0) <= int(seconds or 0) * 1000
    else:
        assert (seconds, milliseconds) == (None, None)


@pytest.mark.parametrize(("estimate", "seconds"), [(None, range(1, 3)), (0.05, range(1, 2)), (1e9, range(20, 21))])
async def test_the_hint_is_at_least_a_second_and_never_above_its_bound(estimate: float | None, seconds: range) -> None:
    driven = await drive(ErrorResponse(refusing(Refusal.CONCURRENCY, estimate), longest_retry_seconds=20))
    assert int(driven.header(b"retry-after") or 0) in seconds
    assert 1 <= int(driven.header(b"x-amz-retry-after") or 0) <= 20_000


@pytest.mark.parametrize(
    ("limits", "function"),
    [
        ({"functions": CLOSED}, "closed"),
        ({"concurrent_executions": 0}, "echo"),
        ({"concurrent_executions": 2, "functions": {"all": {"reserved_concurrent_executions": 2}}}, "echo"),
        ({"requests_per_second": 0}, "echo"),
        ({"functions": {"echo": {"requests_per_second": 0}}}, "echo"),
        ({"functions": {"echo": {"reserved_concurrent_executions": 1, "requests_per_second": 0}}}, "echo"),
        ({"caller_requests_per_second": 0}, "echo"),
    ],
)
def test_a_limit_of_zero_names_no_pause(limits: dict[str, object], function: str) -> None:
    """No wait helps."""
    with gateway(accounts={"default": limits}) as served:
        answer = served.send(invoke(function))
        assert answer.status == 429
        assert (answer.header("retry-after"), answer.header("x-amz-retry-after")) == (None, None)
        assert (answer.header("x-invoke-gateway-decision") or "").endswith("in-use=0, ceiling=0")


async def test_those_refused_together_are_not_told_to_come_back_together() -> None:
    hints = {
        (await drive(ErrorResponse(refusing(Refusal.CONCURRENCY, 4)))).header(b"x-amz-retry-after") for _ in range(20)
    }
    assert len(hints) > 10


@pytest.mark.parametrize("name", ["retry_after", "x_amz_retry_after", "decision_header"])
async def test_each_hint_can_be_switched_off(name: str) -> None:
    header = {
        "retry_after": b"retry-after",
        "x_amz_retry_after": b"x-amz-retry-after",
        "decision_header": b"x-invoke-gateway-decision",
    }
    driven = await drive(ErrorResponse(refusing(Refusal.CONCURRENCY, 1), **{name: False}))
    assert [known for known in header if driven.header(header[known]) is None] == [name]


def test_the_settings_switch_the_hints_off() -> None:
    """AWS itself seems to send none of them."""
    settings = {"retry": {"retry_after": False, "x_amz_retry_after": False}, "decision_header": False}
    with gateway(accounts={"default": {"functions": CLOSED}}, **settings) as served:
        answer = served.send(invoke("closed"))
    assert answer.status == 429
    assert {name for name, _ in answer.headers} == {
        "date", "content-type", "content-length", "x-amzn-errortype", "x-amzn-requestid",
    }  # fmt: skip


def test_the_decision_header_says_which_limit_refused() -> None:
    """With what is in use and the ceiling."""
    functions = {**CLOSED, "one": {"reserved_concurrent_executions": 1}, "hold": {"reserved_concurrent_executions": 1}}
    limits = {"concurrent_executions": 3, "functions": functions, "caller_requests_per_second": 100}
    with gateway(accounts={"default": limits}) as served, Wire(served.port) as first, Wire(served.port) as second:
        first.send(invoke("hold"))
        second.send(invoke("hold2", path="/2015-03-31/functions/hold:1/invocations"))
        refused = second.answer()
        assert refused.header("x-invoke-gateway-decision") == (
            'limit="reserved_concurrent_executions", in-use=1, ceiling=1'
        )
        assert int(refused.header("retry-after") or 0) >= 1
        assert served.send(invoke("closed")).header("x-invoke-gateway-decision") == (
            'limit="reserved_concurrent_executions", in-use=0, ceiling=0'
        )
        assert served.send(invoke("echo")).header("x-invoke-gateway-decision") is None
        served.release()
        assert first.answer().status == 200


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("0f0e0d0c-0b0a-4908-8706-050403020100", True),
        ("0F0E0D0C-0B0A-4908-8706-050403020100", True),
        ("not-a-uuid", False),
        ("0f0e0d0c0b0a49088706050403020100", False),
        ("0f0e0d0c-0b0a-4908-8706-050403020100-", False),
        ("{0f0e0d0c-0b0a-4908-8706-050403020100}", False),
    ],
)
def test_a_clients_own_request_id_is_kept_where_it_is_a_uuid(served: Gateway, given: str, is_kept: bool) -> None:
    """Else a new one is made; both in refusals and where the backend gives none."""
    for function in ("closed", "echo"):
        answer = served.send(invoke(function, b"{}", f"X-Amzn-RequestId: {given}"))
        own = answer.header("x-amzn-requestid") or ""
        assert (own == given) == is_kept
        assert is_kept or uuid.UUID(own).version == 4


def test_the_date_is_true_whatever_the_backend_says() -> None:
    """A wrong one makes SDKs take any error for clock skew. It comes once."""
    with gateway() as served:

        async def answer_from_the_past(call: BackendCall) -> None:
            call.answer(404, b"{}", {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"})

        served.backend.script = answer_from_the_past
        for data in (invoke(), invoke(body=b"{bad"), b"\0", b"GET /x HTTP/1.1\r\nHost: g\r\n\r\n"):
            date = served.send(data).header("date")
            assert date is not None
            assert abs(parsedate_to_datetime(date).timestamp() - time()) < 60


# ---- uploads that are refused ---------------------------------------------------------------------------------

SIZES = [6_291_457, 7_000_000, 20_000_000]


def upload(connection: http.client.HTTPConnection, body: bytes | list[bytes], **headers: str) -> tuple[int, bytes]:
    """Status and body of the answer, which is read only after all of `body` has been sent; a list goes in chunks."""
    is_chunked = isinstance(body, list)
    coding = {"Transfer-Encoding": "chunked"} if is_chunked else {}
    path = "/2015-03-31/functions/echo/invocations"
    connection.request("POST", path, body, {**coding, **headers}, encode_chunked=is_chunked)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("size", SIZES)
def test_an_ordinary_client_reads_the_refusal_of_its_upload_and_goes_on(served: Gateway, size: int) -> None:
    """http.client sends all of its body before it reads; its connection then takes the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    try:
        for body in (b"x" * size, [b"x" * 1_000_000] * (size // 1_000_000 + 1)):
            status, answer = upload(connection, body)
            assert (status, json.loads(answer)["message"]) == (413, TOO_LARGE)
        kept = connection.sock
        assert upload(connection, b"{}") == (200, b"{}")
        assert connection.sock is kept
        status, answer = upload(connection, b"x" * size, Connection="close")
        assert (status, json.loads(answer)["message"]) == (413, TOO_LARGE)
    finally:
        connection.close()
    assert len(served.forwarded()) == 1


@pytest.mark.parametrize("size", SIZES)
def test_boto3_raises_the_modelled_exception_for_an_upload_that_is_too_large(served: Gateway, size: int) -> None:
    """And not a broken pipe."""
    client = served.boto3()
    try:
        with pytest.raises(client.exceptions.RequestTooLargeException) as raised:
            client.invoke(FunctionName="echo", Payload=b"x" * size)
        assert raised.value.response["message"] == TOO_LARGE
        assert raised.value.response["Type"] == "User"
        with pytest.raises(client.exceptions.RequestTooLargeException):
            client.invoke_async(FunctionName="echo", InvokeArgs=b"x" * 300_000)
        with pytest.raises(client.exceptions.TooManyRequestsException):
            client.invoke(FunctionName="closed", Payload=b"x" * 6_000_000)
        assert client.invoke(FunctionName="echo", Payload=b"{}")["StatusCode"] == 200
    finally:
        client.close()


def test_a_refusal_comes_before_the_rest_of_the_upload(served: Gateway) -> None:
    """A client that listens while it uploads need not go on."""
    with Wire(served.port) as wire:
        wire.send(invoke("closed", b"x" * 100_000, "Content-Length: 5000000", length=False))
        assert wire.answer().status == 429
        wire.send(b"x" * 4_900_000)
        assert wire.send(invoke()).answer().status == 200


def test_an_upload_that_announces_more_than_is_ever_read_is_refused_and_its_connection_closed(served: Gateway) -> None:
    with Wire(served.port) as wire:
        wire.send(invoke("echo", b"", f"Content-Length: {DRAIN_BYTES + 1}", length=False))
        answer = wire.answer()
        assert refusal_of(answer) == (413, "RequestTooLargeException", TOO_LARGE)
        assert answer.header("connection") == "close"
        assert wire.has_ended()


def test_an_upload_without_end_is_cut_when_it_has_been_read_long_enough(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has had the whole answer by then."""
    monkeypatch.setattr(answer_stage, "DRAIN_BYTES", 1_000_000)
    with Wire(served.port) as wire:
        wire.send(invoke("closed", b"", CHUNKED, length=False) + chunked(b"x" * 900_000, last=b""))
        assert wire.answer().status == 429
        assert wire.is_open(0.05)
        for _ in range(100):
            wire.send(chunked(b"x" * 100_000, last=b""))
        assert wire.has_ended()
    assert served.buffered() == 0


def test_an_ambiguous_request_is_the_last_of_its_connection(served: Gateway) -> None:
    """Who else has read it may see its end elsewhere. Its body is read all the same."""
    with Wire(served.port) as wire:
        wire.send(invoke("echo", b'"' + b"x" * 3_000_000 + b'"', "Authorization: a", "Authorization: b"))
        answer = wire.answer()
        assert refusal_of(answer) == (400, "InvalidRequestContentException", "Send authorization only once.")
        assert answer.header("connection") == "close"
        assert wire.has_ended()
    assert served.forwarded() == []
