"""Responses about the gateway's own identity, told from all others."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.events.retryable_responses import OF_EXCEPTIONS
from invoke_gateway.policy.identity.signature_refusals import find_identity_refusal

EXPIRED = (
    b'{"message":"Signature expired: 20260131T120000Z is now earlier than 20260131T120200Z'
    b' (20260131T120700Z - 5 min.)"}'
)
EARLY = (
    b'{"message":"Signature not yet current: 20260131T120000Z is still later than 20260131T115500Z'
    b' (20260131T115000Z + 5 min.)"}'
)
INVALID = {b"x-amzn-errortype": b"InvalidSignatureException"}


@pytest.mark.parametrize(("body", "skew"), [(EXPIRED, 420), (EARLY, -600), (b'{"message": "no"}', None)])
def test_the_texts_about_time_have_both_clocks(body: bytes, skew: float | None) -> None:
    found = find_identity_refusal(403, INVALID, body)
    assert found is not None
    assert found.is_signature
    assert found.skew_seconds == skew


@pytest.mark.parametrize(
    ("status", "code", "body", "found_code", "is_signature"),
    [
        (403, b"UnrecognizedClientException", b"{}", "UnrecognizedClientException", True),
        (400, b"ExpiredTokenException", b"{}", "ExpiredTokenException", True),
        (
            403,
            b"AccessDeniedException",
            b'{"Message":"User: arn: a is not authorized"}',
            "AccessDeniedException",
            False,
        ),
        (403, b"", b"<E><Code>InvalidClientTokenId</Code><Message>no</Message></E>", "InvalidClientTokenId", True),
        (403, b"", b'{"__type": "com.amazonaws#ExpiredToken"}', "ExpiredToken", True),
        (401, b"", b"", "", True),
        (403, b"", b"<html>Forbidden</html>", "", False),
    ],
)
def test_refusals(status: int, code: bytes, body: bytes, found_code: str, is_signature: bool) -> None:
    found = find_identity_refusal(status, {b"x-amzn-errortype": code} if code else {}, body)
    assert found is not None
    assert (found.code, found.is_signature) == (found_code, is_signature)


def test_no_error_of_the_model_is_one() -> None:
    for name in OF_EXCEPTIONS:
        for status in (400, 403, 404):
            assert find_identity_refusal(status, {b"x-amzn-errortype": name.encode()}, b"{}") is None, (status, name)


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500, 502])
def test_other_responses(status: int) -> None:
    assert find_identity_refusal(status, {}, b"{}") is None
