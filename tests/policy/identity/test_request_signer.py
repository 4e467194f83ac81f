"""The gateway's own signature: what it covers, and what of a client's request goes on."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from invoke_gateway.policy.identity.canonical_request import EMPTY_HASH
from invoke_gateway.policy.identity.request_signer import (
    INVOKE_HEADERS,
    RequestSigner,
    SigningCredentials,
    drop_signature,
    keep_own_headers,
)

CREDENTIALS = SigningCredentials("AKIAGATEWAY", "secret", "token")


def sign(headers: list[tuple[bytes, bytes]], date: bytes = b"20260131T120000Z") -> dict[bytes, bytes]:
    signer = RequestSigner(CREDENTIALS, host=b"h", region="us-east-1")
    return dict(signer.sign(b"POST", b"/p", b"", headers, EMPTY_HASH, date))


def test_the_headers_that_go_on_are_those_of_the_model() -> None:
    model = get_session().get_service_model("lambda")
    inputs = [model.operation_model(name).input_shape for name in model.operation_names]
    headers = {
        member.serialization["name"].lower().encode()
        for shape in inputs
        if shape is not None
        for member in shape.members.values()
        if member.serialization.get("location") == "header"
    }
    assert headers == INVOKE_HEADERS


def test_a_clients_signature_and_other_headers_of_aws_do_not_go_on() -> None:
    kept = [(b"x-amz-log-type", b"Tail"), (b"x-amzn-trace-id", b"Root=1"), (b"amz-sdk-request", b"attempt=1")]
    dropped = [
        (b"authorization", b"AWS4-HMAC-SHA256 x"),
        (b"host", b"other"),
        (b"x-amz-date", b"1"),
        (b"x-amz-security-token", b"t"),
        (b"x-amz-content-sha256", b"0"),
        (b"x-amz-source-account", b"1"),
    ]
    assert keep_own_headers([*dropped, *kept]) == kept


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"Qualifier=prod", b"Qualifier=prod"),
        (b"X-Amz-Date=1&Qualifier=%24LATEST&x-amz-signature=2&b", b"Qualifier=%24LATEST&b"),
        (b"%58-Amz-Security-Token=t&a-b=c", b"a-b=c"),
        (b"a=X-Amz-Date", b"a=X-Amz-Date"),
    ],
)
def test_a_presigned_query_loses_its_signature(query: bytes, left: bytes) -> None:
    assert drop_signature(query) == left


def test_the_signature_covers_what_is_sent_of_the_api_and_nothing_else() -> None:
    headers = [(b"x-forwarded-for", b"10.0.0.1"), (b"x-amz-tenant-id", b"t"), (b"x-amz-log-type", b"Tail")]
    added = sign(headers)
    assert set(added) == {b"authorization", b"x-amz-date", b"x-amz-security-token"}
    assert (
        b"SignedHeaders=host;x-amz-date;x-amz-log-type;x-amz-security-token;x-amz-tenant-id," in added[b"authorization"]
    )


def test_two_lines_of_one_header_are_signed_as_one_list() -> None:
    twice = [(b"x-amz-tenant-id", b"a"), (b"x-amz-tenant-id", b"b")]
    assert sign(twice)[b"authorization"] == sign([(b"x-amz-tenant-id", b"a,b")])[b"authorization"]


def test_the_key_changes_with_the_day() -> None:
    signer = RequestSigner(CREDENTIALS, host=b"h", region="us-east-1")
    dates = (b"20260131T235959Z", b"20260201T000000Z", b"20260131T235959Z")
    first, second, third = (dict(signer.sign(b"GET", b"/", b"", [], EMPTY_HASH, date)) for date in dates)
    assert b"/20260131/" in first[b"authorization"]
    assert b"/20260201/" in second[b"authorization"]
    assert first == third


def test_no_secret_is_shown() -> None:
    shown = repr(RequestSigner(CREDENTIALS, host=b"h", region="us-east-1"))
    assert "secret" not in shown
    assert "token" not in shown
    assert "AKIAGATEWAY" not in shown
