"""A hostile list: requests that each try another way around the signature. None reaches the backend."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from tests.support.signing import ARN, KEY_ID, NOW, SECRET, Signing, sign
from tests.support.sockets import Gateway, Wire, gateway, refusal_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALICE_SECRET", SECRET)
        callers = {KEY_ID: {"secret": "env:ALICE_SECRET", "arn": ARN}}
        with gateway(signatures="verify", callers=callers) as started:
            yield started


@pytest.fixture
def verified(shared: Gateway) -> Iterator[Gateway]:
    shared.forget()
    yield shared
    shared.until_idle()


def signed(**values: Any) -> Signing:
    return sign(**{"at": datetime.now(UTC), **values})


def hostile() -> dict[str, bytes]:
    """Returns requests that must all be refused, by what is wrong with them."""
    good = signed().to_bytes()
    signature = good.partition(b"Signature=")[2][:64]
    date = re.search(rb"X-Amz-Date: (.*)\r\n", good)[1]  # type: ignore[index]  # it has one
    line = re.search(rb"Authorization: .*\r\n", good)[0]  # type: ignore[index]  # it has one
    old = signed(at=datetime.now(UTC) - timedelta(hours=1)).to_bytes()
    dated = signed(headers={"Date": "Sat, 31 Jan 2026 12:30:05 GMT"}, at=NOW).to_bytes()
    presigned = signed(expires=60).to_bytes()
    scope = b"/%b/us-east-1/lambda/aws4_request" % date[:8]

    def change(before: bytes, after: bytes, raw: bytes = good) -> bytes:
        assert before in raw, (before, raw)
        return raw.replace(before, after, 1)

    return {
        "two Authorization headers": change(line, line + line),
        "two Authorization headers, one of another key": change(line, line.replace(KEY_ID.encode(), b"AKIAX") + line),
        "a folded Authorization": change(b", SignedHeaders", b",\r\n SignedHeaders"),
        "a folded Authorization with a tab": change(b", Signature=", b",\r\n\tSignature="),
        "two X-Amz-Date": change(b"X-Amz-Date:", b"X-Amz-Date: %b\r\nX-Amz-Date:" % date),
        "two Host": change(b"Host: gateway\r\n", b"Host: gateway\r\nHost: other\r\n"),
        "two X-Amz-Content-Sha256": change(line, b"X-Amz-Content-Sha256: a\r\nX-Amz-Content-Sha256: b\r\n" + line),
        "a fresh unsigned Date beside an old X-Amz-Date": change(
            b"X-Amz-Date:", b"Date: %b\r\nX-Amz-Date:" % date, old
        ),
        "a fresh X-Amz-Date over an old signed Date": change(b"Date:", b"X-Amz-Date: %b\r\nDate:" % date, dated),
        "no date at all": re.sub(rb"X-Amz-Date: .*\r\n", b"", good),
        "a date that is none": change(date, b"20269931T999999Z"),
        "a date in another form": change(date, b"2026-01-31T12:30:05Z"),
        "a path that is encoded twice": change(b"/checkout/", b"/check%6Fut/"),
        "a path with dots": change(b"/checkout/", b"/x/../report/"),
        "a path with a doubled slash before another name": change(b"/checkout/", b"//report/"),
        "an added query": change(b"/invocations HTTP", b"/invocations?Qualifier=prod HTTP"),
        "a huge scope": change(scope, scope + b"/" + b"x" * 8000),
        "a huge Region": change(b"us-east-1/lambda", b"x" * 8000 + b"/lambda"),
        "an empty access key": change(b"Credential=" + KEY_ID.encode(), b"Credential="),
        "an empty day": change(scope, b"//us-east-1/lambda/aws4_request"),
        "an empty Region": change(b"/us-east-1/", b"//"),
        "an empty signature": change(signature, b""),
        "a signature in capitals": change(signature, b"ABCDEF" + signature[6:]),
        "a signature that is too long": change(signature, signature + b"0"),
        "a NUL in the credential": change(KEY_ID.encode(), KEY_ID.encode() + b"\0"),
        "bytes that are not ASCII": change(KEY_ID.encode(), "AKIÄ".encode()),
        "tabs between the parts": change(b"AWS4-HMAC-SHA256 Credential", b"AWS4-HMAC-SHA256\tCredential"),
        "another letter case of the algorithm": change(b"AWS4-HMAC-SHA256", b"aws4-hmac-sha256"),
        "another letter case of a parameter": change(b"Credential=", b"credential="),
        "signed headers in capitals": change(b"SignedHeaders=host;x-amz-date", b"SignedHeaders=Host;X-Amz-Date"),
        "signed headers out of order": change(b"host;x-amz-date", b"x-amz-date;host"),
        "a signed header twice": change(b"host;x-amz-date", b"host;host;x-amz-date"),
        "a signed header that was not sent": change(b"host;x-amz-date", b"host;x-absent;x-amz-date"),
        "signed headers without host": change(b"host;x-amz-date", b"x-amz-date"),
        "signed headers without the date": change(b"host;x-amz-date", b"host"),
        "ten thousand signed headers": change(b"host;x-amz-date", b";".join(b"a%d" % n for n in range(10_000))),
        "five hundred signed headers": change(b"host;x-amz-date", b";".join(b"a%d" % n for n in range(500))),
        "an added header of AWS": change(line, b"X-Amz-Invocation-Type: Event\r\n" + line),
        "a header and a query that sign": change(b" HTTP/1.1", b"&X HTTP/1.1", presigned).replace(
            b"Host:", line + b"Host:"
        ),
        "a query that names another key": change(b"/invocations HTTP", b"/invocations?x-amz-credential=AKIAX/ HTTP"),
        "a presigned request with two signatures": change(
            b" HTTP/1.1", b"&X-Amz-Signature=%b HTTP/1.1" % signature, presigned
        ),
        "a presigned request in small letters": presigned.replace(b"X-Amz-Algorithm", b"x-amz-algorithm").replace(
            b"X-Amz-Credential", b"x-amz-credential"
        ),
        "an unsigned payload": signed(headers={"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}).to_bytes(),
        "a payload signed in chunks": signed(
            headers={"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
        ).to_bytes(),
        "a payload in aws-chunked": signed(headers={"Content-Encoding": "aws-chunked"}).to_bytes(),
        "a hash that is none": signed(headers={"X-Amz-Content-Sha256": "abc"}).to_bytes(),
        "a hash of another body": signed(headers={"X-Amz-Content-Sha256": sha256(b"[]").hexdigest()}).to_bytes(),
        "Signature Version 4A": change(b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256"),
        "Signature Version 2": change(line, b"Authorization: AWS %b:%b\r\n" % (KEY_ID.encode(), signature)),
        "Signature Version 2 in the query": change(line, b"").replace(
            b"/invocations HTTP", b"/invocations?AWSAccessKeyId=%b&Signature=x HTTP" % KEY_ID.encode()
        ),
        "a bearer token": change(line, b"Authorization: Bearer abc\r\n"),
        "an empty Authorization": change(line, b"Authorization: \r\n"),
        "a payload with another byte": good[:-1] + b"]",
        "another method": change(b"POST", b"PUT"),
    }


@pytest.mark.parametrize("what", hostile())
def test_a_hostile_request_is_refused_in_shape_and_leaves_nothing(verified: Gateway, what: str) -> None:
    data = hostile()[what]
    with Wire(verified.port) as wire:
        status, code, text = refusal_of(wire.send(data).answer())
    assert status in (400, 403, 431), (status, code, text)
    assert code.endswith("Exception")
    assert SECRET not in text
    assert len(text) < 700
    verified.until_idle()
    assert verified.forwarded() == []


def test_at_least_thirty_of_them() -> None:
    assert len(hostile()) >= 30
