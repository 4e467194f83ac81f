"""Compare the canonical form and the signature with botocore's, which signs on its own."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.identity.canonical_request import (
    EMPTY_HASH,
    canonical_path,
    canonical_query,
    canonical_request,
    canonical_value,
    derive_key,
    make_pads,
    make_scope,
    make_signature,
)

HOST = "lambda.eu-central-1.amazonaws.com"
DATE = "20260131T235959Z"


def sign_with_botocore(method: str, path: str, query: str, body: bytes) -> tuple[str, str]:
    """Return botocore's canonical request and signature."""
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers={"X-Amz-Date": DATE, "X-Amz-Tenant-Id": " a   b "}, data=body)
    request.context["timestamp"] = DATE
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "secret/+x"), "lambda", "eu-central-1")
    canonical = signer.canonical_request(request)
    return canonical, signer.signature(signer.string_to_sign(request, canonical), request)


def sign_here(method: str, path: str, query: str, body: bytes) -> tuple[str, str]:
    headers = [
        (b"host", HOST.encode()),
        (b"x-amz-date", DATE.encode()),
        (b"x-amz-tenant-id", canonical_value(b" a   b ")),
    ]
    payload_hash = sha256(body).hexdigest().encode()
    canonical, names = canonical_request(method.encode(), path.encode(), query.encode(), headers, payload_hash)
    assert names == b"host;x-amz-date;x-amz-tenant-id"
    key = derive_key("secret/+x", DATE[:8], "eu-central-1", "lambda")
    scope = make_scope(DATE[:8], "eu-central-1", "lambda")
    return canonical.decode(), make_signature(make_pads(key), DATE.encode(), scope, canonical).decode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/2015-03-31/functions/checkout/invocations", ""),
        ("/2015-03-31/functions/checkout:prod/invocations", "Qualifier=prod"),
        ("/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A111122223333%3Afunction%3Af%3A1/invocations", ""),
        ("/2015-03-31/functions/with%20space/invocations", "b=2&a=1&a=0"),
        ("/2015-03-31/functions/caf%C3%A9~x/invocations", "Qualifier=%24LATEST"),
        ("/a/./b/../c//d/", "empty=&x=%C3%A9"),
        ("/", ""),
    ],
)
def test_the_canonical_form_and_the_signature_are_botocores(method: str, path: str, query: str) -> None:
    body = b'{"order": 7}'
    assert sign_here(method, path, query, body) == sign_with_botocore(method, path, query, body)


SEGMENTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@given(st.lists(SEGMENTS, min_size=1, max_size=4), st.binary(max_size=40))
def test_any_path_is_escaped_once_more_as_botocore_does(segments: list[str], body: bytes) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    assert sign_here("POST", path, "", body) == sign_with_botocore("POST", path, "", body)


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        (b"", b"/"),
        (b"/a:b", b"/a%3Ab"),
        (b"/a%3Ab", b"/a%253Ab"),
        (b"/..", b"/"),
        (b"/a/..", b"/"),
        (b"/a/b/..", b"/a/"),
        (b"/.well", b"/.well"),
        (b"/caf\xc3\xa9", b"/caf%C3%A9"),
    ],
)
def test_paths(path: bytes, canonical: bytes) -> None:
    assert canonical_path(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        (b"", b""),
        (b"a", b"a="),
        (b"&&", b""),
        (b"b=1&a=2", b"a=2&b=1"),
        (b"a=2&a=10", b"a=10&a=2"),
        (b"Qualifier=$LATEST", b"Qualifier=%24LATEST"),
        (b"Qualifier=%7Ex%2bd", b"Qualifier=~x%2Bd"),
        (b"a=1=2", b"a=1%3D2"),
        (b"X-Amz-Signature=00&X-Amz-Date=1", b"X-Amz-Date=1"),
    ],
)
def test_queries(query: bytes, canonical: bytes) -> None:
    assert canonical_query(query) == canonical


def test_values_have_single_blanks_and_none_at_their_ends() -> None:
    assert canonical_value(b"  a \t b   c ") == b"a b c"
    assert canonical_value(b"") == b""


def test_the_hash_of_no_body() -> None:
    assert sha256(b"").hexdigest().encode() == EMPTY_HASH


def test_the_key_of_awss_own_example() -> None:
    """AWS General Reference, "Examples of how to derive a signing key"."""
    key = derive_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
