"""Every request that leaves a gateway that signs has its own signature, and nothing of its client's.

The backend verifies each signature with botocore.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.backends import BackendCall, ScriptedBackend, chunk
from tests.support.clients import Client, call, check_is_service_exception, request
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.signatures import SignedBy, verify

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, SECRET, TOKEN = "AKIAGATEWAY", "gateway/secret+", "token/of+the=gateway"
INVOKE = "/2015-03-31/functions/checkout/invocations"
CLIENTS_SIGNATURE = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIACLIENT/20260131/us-east-1/lambda/aws4_request,"
    " SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "X-Amz-Date": "20260131T000000Z",
    "X-Amz-Security-Token": "the client's",
    "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
}


class VerifyingBackend:
    """Records the valid signature of each request, and answers.

    answers: the answers of the next requests; 200 for each further one
    """

    def __init__(self, backend: ScriptedBackend) -> None:
        self.backend = backend
        self.calls: list[BackendCall] = []
        self.signed: list[SignedBy] = []
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        backend.on_head = self.answer

    async def answer(self, call: BackendCall) -> None:
        await call.read_body()
        self.calls.append(call)
        self.signed.append(verify(call, {KEY: SECRET}))
        status, body, headers = self.answers.pop(0) if self.answers else (200, b'"ok"', {})
        call.answer(status, body, headers)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pair() -> AsyncIterator[tuple[ScriptedBackend, GatewayUnderTest]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        environment.setenv("AWS_SESSION_TOKEN", TOKEN)
        sign = {"credentials": "env"}
        rules = {"default": {"functions": {"checkout": {"maximum_retry_attempts": 0}}, "requests_per_second": "off"}}
        delays = {"shortest_delay_seconds": 0.1}
        async with (
            ScriptedBackend() as backend,
            serving(backend.url, backend={"url": backend.url, "sign": sign}, accounts=rules, **{"async": delays}) as up,
        ):
            yield backend, up


@pytest.fixture
def verifying(backend: ScriptedBackend) -> VerifyingBackend:
    return VerifyingBackend(backend)


async def test_a_call_is_signed_in_the_gateways_name(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    headers = {**CLIENTS_SIGNATURE, "X-Amz-Log-Type": "Tail", "X-Forwarded-For": "10.0.0.1", "X-Amz-Source-Arn": "evil"}
    answer = await call(gateway.listen, INVOKE, b'{"order": 7}', headers=headers)
    assert answer.status == 200
    (sent,), (signed,) = verifying.calls, verifying.signed
    assert (signed.access_key_id, signed.region, signed.service) == (KEY, "us-east-1", "lambda")
    assert signed.headers == ["host", "x-amz-date", "x-amz-log-type", "x-amz-security-token"]
    assert sent.header(b"host").decode() == verifying.backend.url.removeprefix("http://")
    assert sent.header(b"x-amz-security-token").decode() == TOKEN
    assert sent.header(b"x-forwarded-for") == b"10.0.0.1"  # not signed: a proxy may change it
    assert sent.header(b"x-amz-source-arn") is None
    assert sent.header(b"x-amz-content-sha256") is None
    assert b"AKIACLIENT" not in sent.head
    assert sent.header(b"x-amzn-trace-id") is not None


PATHS = [
    "checkout",
    "checkout:prod",
    "arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Acheckout",
    "arn:aws:lambda:us-east-1:111122223333:function:checkout:7",
    "111122223333%3Afunction%3Acheckout",
    "checkout?Qualifier=%24LATEST",
    "checkout?Qualifier=$LATEST",
]


@pytest.mark.parametrize("name", PATHS)
async def test_the_path_goes_on_as_it_came(gateway: GatewayUnderTest, verifying: VerifyingBackend, name: str) -> None:
    path, _, query = name.partition("?")
    target = f"/2015-03-31/functions/{path}/invocations" + (f"?{query}" if query else "")
    if "$" in query:  # botocore signs a query as it is written; AWS, and the gateway, escape it
        verifying.backend.on_head = _just_answer
    assert (await call(gateway.listen, target, b"{}")).status == 200
    if "$" not in query:
        assert verifying.calls[0].target.decode() == target


async def _just_answer(call: BackendCall) -> None:
    await call.read_body()
    call.answer()


async def test_a_presigned_request_loses_its_signature_and_nothing_else(
    gateway: GatewayUnderTest, verifying: VerifyingBackend
) -> None:
    presigned = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIACLIENT%2Fx&%58-amz-Security-Token=t"
    target = f"{INVOKE}?a=1&{presigned}&Qualifier=prod&X-Amz-Signature=00"
    assert (await call(gateway.listen, target, b"{}")).status == 200
    assert verifying.calls[0].target.decode() == f"{INVOKE}?a=1&Qualifier=prod"


async def test_a_signed_header_that_connection_lists_is_signed_or_dropped(
    gateway: GatewayUnderTest, verifying: VerifyingBackend
) -> None:
    headers = {"Connection": "x-amz-tenant-id, x-amz-log-type, authorization, x-amz-date", "X-Amz-Log-Type": "Tail"}
    assert (await call(gateway.listen, INVOKE, b"{}", headers=headers)).status == 200
    assert len(verifying.signed) == 1


async def test_headers_with_blanks_and_utf_8(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    headers = {"X-Amz-Tenant-Id": "blue   tenant"}
    assert (await call(gateway.listen, INVOKE, '{"name": "Zoë 🚀"}'.encode(), headers=headers)).status == 200
    assert "x-amz-tenant-id" in verifying.signed[0].headers
    assert verifying.calls[0].header(b"x-amz-tenant-id") == b"blue   tenant"


@pytest.mark.parametrize("size", [0, 262_143, 262_145, 6_291_456])
async def test_bodies_of_any_size(gateway: GatewayUnderTest, verifying: VerifyingBackend, size: int) -> None:
    body = b'"' + b"x" * (size - 2) + b'"' if size else b""
    assert (await call(gateway.listen, INVOKE, body)).status == 200
    assert len(verifying.calls[0].body) == size


async def test_a_stream_is_signed(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    target = "/2021-11-15/functions/checkout/response-streaming-invocations"
    assert (await call(gateway.listen, target, b"{}", headers=CLIENTS_SIGNATURE)).status == 200
    assert verifying.signed[0].access_key_id == KEY


async def test_an_event_and_its_second_run_are_signed_when_they_are_sent(
    gateway: GatewayUnderTest, verifying: VerifyingBackend
) -> None:
    verifying.answers = [(500, b'{"message": "later"}', {"x-amzn-ErrorType": "ServiceException"})]
    headers = {**CLIENTS_SIGNATURE, "X-Amz-Invocation-Type": "Event"}
    assert (await call(gateway.listen, INVOKE, b"{}", headers=headers)).status == 202
    await eventually(lambda: len(verifying.signed) == 2, "two runs")
    assert {signed.access_key_id for signed in verifying.signed} == {KEY}


async def test_invoke_async_and_a_dry_run_are_signed(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    assert (await call(gateway.listen, "/2014-11-13/functions/checkout/invoke-async", b"{}")).status == 202
    await eventually(lambda: verifying.signed, "one run")
    assert (await call(gateway.listen, INVOKE, b"{}", headers={"X-Amz-Invocation-Type": "DryRun"})).status == 200
    assert "x-amz-invocation-type" in verifying.signed[1].headers


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_another_operation_is_read_whole_and_signed(
    gateway: GatewayUnderTest, verifying: VerifyingBackend, is_chunked: bool
) -> None:
    body = json.dumps({"FunctionName": "new", "Code": {"ZipFile": "A" * 900_000}}).encode()
    framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": str(len(body))}
    async with Client(gateway.listen) as client:
        await client.send(request("/2015-03-31/functions", None, {**CLIENTS_SIGNATURE, **framing}))
        await client.send(chunk(body) + chunk(b"") if is_chunked else body)
        answer = await client.read_response()
    assert answer.status == 200
    assert verifying.calls[0].body == body
    assert verifying.calls[0].header(b"content-length") == b"%d" % len(body)


async def test_another_operation_in_one_piece_is_signed(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    body = b'{"FunctionName": "new"}'
    for _ in range(2):
        answer = await call(gateway.listen, "/2015-03-31/functions", body, headers=CLIENTS_SIGNATURE)
        assert answer.status == 200
    assert [sent.body for sent in verifying.calls] == [body, body]
    assert {signed.access_key_id for signed in verifying.signed} == {KEY}


async def test_a_get_and_the_gateways_own_question_are_signed(
    gateway: GatewayUnderTest, verifying: VerifyingBackend
) -> None:
    answer = await call(gateway.listen, "/2015-03-31/functions/checkout", None, method="GET", headers=CLIENTS_SIGNATURE)
    assert answer.status == 200
    target = "/2017-10-31/functions/checkout/concurrency"
    answer = await call(gateway.listen, target, b'{"ReservedConcurrentExecutions": 1}', method="PUT")
    assert answer.status == 200
    assert [sent.method for sent in verifying.calls] == [b"GET", b"GET"]
    await call(gateway.listen, target, None, method="DELETE")


REFUSALS: list[tuple[int, bytes, str]] = [
    (403, b'{"message": "The security token included in the request is invalid"}', "UnrecognizedClientException"),
    (403, b'{"message": "The security token included in the request is expired"}', "ExpiredTokenException"),
    (
        403,
        b'{"Message": "User: arn:aws:sts::999988887777:assumed-role/gw/i is not authorized"}',
        "AccessDeniedException",
    ),
    (400, b'{"message": "no"}', "IncompleteSignatureException"),
    (403, b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>No</Message></Error></ErrorResponse>", ""),
    (401, b"who are you", ""),
]


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS)
async def test_a_refusal_of_the_gateways_identity_is_not_the_clients_fault(
    gateway: GatewayUnderTest, verifying: VerifyingBackend, status: int, body: bytes, code: str
) -> None:
    headers: dict[str, str] = {"x-amzn-ErrorType": code} if code else {}
    for _ in range(2):
        verifying.answers.append((status, body, headers))
    answer = await call(gateway.listen, INVOKE, b"{}")
    check_is_service_exception(answer, str(status))
    assert b"999988887777" not in answer.body
    answer = await call(gateway.listen, "/2015-03-31/functions/checkout/policy", None, method="GET")
    check_is_service_exception(answer, code)
    assert (await call(gateway.listen, INVOKE, b"{}")).status == 200


async def test_other_errors_go_to_the_client(gateway: GatewayUnderTest, verifying: VerifyingBackend) -> None:
    missing = (404, b'{"Message": "Function not found"}', {"x-amzn-ErrorType": "ResourceNotFoundException"})
    verifying.answers = [missing]
    answer = await call(gateway.listen, INVOKE, b"{}")
    assert (answer.status, answer.body) == (404, missing[1])


async def test_an_event_waits_until_the_gateways_identity_is_accepted(
    gateway: GatewayUnderTest, verifying: VerifyingBackend
) -> None:
    refusal: Any = (403, b'{"message": "expired"}', {"x-amzn-ErrorType": "ExpiredTokenException"})
    verifying.answers = [refusal, refusal]
    answer = await call(gateway.listen, INVOKE, b"{}", headers={"X-Amz-Invocation-Type": "Event"})
    assert answer.status == 202
    await eventually(lambda: gateway.app.degraded["backend_refuses_events"], "the gateway is degraded")
    await eventually(lambda: len(verifying.calls) == 3, "the event has run")
    await eventually(lambda: not gateway.app.degraded["backend_refuses_events"], "the gateway has recovered")
    await eventually(lambda: not gateway.app.degraded["backend_credentials"], "the signature is accepted again")
