"""What an exchange still knows once its request has been sent."""

from __future__ import annotations

from invoke_gateway.exchange import Exchange

REQUEST_ID = b"0f3b4c9e-8e2a-4d5b-9a61-6f1f5c2d7e10"
AUTHORIZATION = b"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/lambda/aws4_request, Signature=0"


def test_headers_that_are_read_later_are_kept() -> None:
    exchange = Exchange(0.0)
    exchange.headers = {
        b"host": b"gateway",
        b"authorization": AUTHORIZATION,
        b"x-amzn-requestid": REQUEST_ID,
        b"amz-sdk-request": b"attempt=2; max=3",
    }
    kept = exchange.forget_headers()
    assert kept is exchange.headers
    assert b"host" not in kept
    assert kept[b"amz-sdk-request"] == b"attempt=2; max=3"
    assert exchange.describe_holder() == {"request_id": REQUEST_ID.decode(), "caller": "AKIAEXAMPLE"}


def test_headers_that_were_not_sent_are_still_missing() -> None:
    exchange = Exchange(0.0)
    exchange.headers = {b"host": b"gateway"}
    exchange.forget_headers()
    assert [value for value in exchange.headers.values() if value is not None] == []
    assert exchange.describe_holder()["caller"] is None
    assert len(exchange.request_id) == 36
