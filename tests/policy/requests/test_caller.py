"""Who a request says it is from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import ANONYMOUS, Caller
from invoke_gateway.policy.requests.caller import keep_signature, parse_caller

CREDENTIALS = {"AKIAEXAMPLE": "111122223333", "local.user@example+1": "444455556666", "123456789012": "111122223333"}
SCOPE = "/20250101/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff"


@pytest.mark.parametrize(
    ("access_key_id", "account"),
    [
        ("AKIAEXAMPLE", "111122223333"),
        ("local.user@example+1", "444455556666"),
        ("AKIAUNKNOWN", None),
        ("999988887777", "999988887777"),
        ("123456789012", "111122223333"),
        ("1234567890123", None),
        ("12345678901", None),
        ("12345678901a", None),
        ("x" * 128, None),
    ],
)
def test_the_credential_names_the_caller(access_key_id: str, account: str | None) -> None:
    """The table says the account; what it does not know is an account itself if it has twelve digits."""
    header = f"AWS4-HMAC-SHA256 Credential={access_key_id}{SCOPE}".encode()
    assert parse_caller(header, CREDENTIALS) == Caller(access_key_id, account)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer token",
        b"Basic QUtJQUVYQU1QTEU6eA==",
        b"AWS4-HMAC-SHA256 Credential=",
        b"AWS4-HMAC-SHA256 Credential=/x",
        b"AWS4-HMAC-SHA256 Signature=0",
        b"AWS4-HMAC-SHA256 Credential=" + b"x" * 129 + b"/x",
    ],
)
def test_without_a_credential_the_caller_is_anonymous(header: bytes | None) -> None:
    assert parse_caller(header, CREDENTIALS) is ANONYMOUS


@pytest.mark.parametrize("rest", ["", "/x", ", SignedHeaders=host", ",x", " "])
def test_the_access_key_id_ends_where_it_ends(rest: str) -> None:
    """Never at a part of it, which might be somebody else's."""
    assert parse_caller(f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE{rest}".encode(), CREDENTIALS) == KNOWN
    longer = parse_caller(f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE.more{rest}".encode(), CREDENTIALS)
    assert longer == Caller("AKIAEXAMPLE.more", None)


def test_digits_of_other_scripts_make_no_account() -> None:
    caller = parse_caller("AWS4-HMAC-SHA256 Credential=١٢٣٤٥٦٧٨٩٠١٢/x".encode(), {})
    assert caller is not None
    assert caller.account is None


# ---- presigned requests ---------------------------------------------------------------------------------------

KNOWN = Caller("AKIAEXAMPLE", "111122223333")
V4 = "AKIAEXAMPLE%2F20250101%2Fus-east-1%2Flambda%2Faws4_request"
QUERIES = [
    f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={V4}&X-Amz-Date=20250101T000000Z&X-Amz-Expires=60&X-Amz-Signature=0",
    f"X-Amz-Security-Token=AKIAOTHER%2F&X-Amz-Credential={V4}",
    "X-Amz-Credential=AKIAEXAMPLE/20250101/us-east-1/lambda/aws4_request",
    "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Region-Set=*&X-Amz-Credential=AKIAEXAMPLE%2F20250101%2Flambda%2Faws4_request",
    f"x-amz-credential={V4}",
    f"X-AMZ-CREDENTIAL={V4}",
    f"X%2DAmz%2DCredential={V4}",
    f"%58-Amz-Credential={V4.lower().replace('akiaexample', 'AKIAEXAMPLE')}",
    "X-Amz-Credential=%41KIAEXAMPLE%2fx",
    "X-Amz-Credential=AKIAEXAMPLE%252F20250101",
    "X-Amz-Credential=AKIAEXAMPLE",
    f"Qualifier=live;X-Amz-Credential={V4}",
    f"Qualifier=live&X-Amz-Credential={V4}",
    f"X-Amz-Credential={V4}&X-Amz-Credential={V4}",
    f"X-Amz-Credential={V4}&X-Amz-Credential=AKIAEXAMPLE%2F20250102%2Feu-west-1%2Flambda%2Faws4_request",
    f"X-Amz-Credential=&X-Amz-Credential={V4}",
    "AWSAccessKeyId=AKIAEXAMPLE&SignatureVersion=2&SignatureMethod=HmacSHA256&Signature=0",
    "awsaccesskeyid=AKIAEXAMPLE",
    f"AWSAccessKeyId=AKIAEXAMPLE&X-Amz-Credential={V4}",
]


@pytest.mark.parametrize("query", QUERIES)
def test_the_query_of_a_presigned_request_names_the_caller(query: str) -> None:
    assert parse_caller(None, CREDENTIALS, query.encode()) == KNOWN


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Credential",
        "X-Amz-Credential=",
        "X-Amz-Credential=%2Fx",
        f"X-Amz-Credential={'x' * 129}%2Fx",
        f"Credential={V4}",
        f"Qualifier=X-Amz-Credential%3D{V4}",
        f"X-Amz-Credential-Old={V4}",
        "%",
        "%ff=%ff",
        "X-Amz-Credentials=AKIAEXAMPLE",
    ],
)
def test_a_query_without_a_credential_names_no_caller(query: str) -> None:
    assert parse_caller(None, CREDENTIALS, query.encode()) is ANONYMOUS
    header = f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE{SCOPE}".encode()
    assert parse_caller(header, CREDENTIALS, query.encode()) == KNOWN


@pytest.mark.parametrize(
    ("header", "query"),
    [
        (f"AWS4-HMAC-SHA256 Credential=AKIAOTHER{SCOPE}", f"X-Amz-Credential={V4}"),
        ("AWS AKIAOTHER:c2lnbmF0dXJl", f"X-Amz-Credential={V4}"),
        (f"AWS4-HMAC-SHA256 Credential=AKIAOTHER{SCOPE}", "AWSAccessKeyId=AKIAEXAMPLE"),
        (f"Bearer Credential=AKIAOTHER{SCOPE}", f"X-Amz-Credential={V4}"),
        ("AWS4-HMAC-SHA256 Credential=AKIAOTHER/x, Credential=AKIAEXAMPLE/x", ""),
        ("", f"X-Amz-Credential={V4}&X-Amz-Credential=AKIAOTHER%2F20250101"),
        ("", f"X-Amz-Credential={V4}&x-amz-credential=AKIAOTHER%2F20250101"),
        ("", f"X-Amz-Credential={V4}&AWSAccessKeyId=AKIAOTHER"),
        ("", f"X-Amz-Credential={V4};X%2dAmz-Credential=AKIAOTHER"),
    ],
)
def test_a_request_that_names_two_access_keys_has_no_caller(header: str, query: str) -> None:
    """The backend could take either, so neither account can be the one that is charged."""
    assert parse_caller(header.encode() or None, CREDENTIALS, query.encode()) is None


@pytest.mark.parametrize(
    "header",
    [
        f"AWS4-ECDSA-P256-SHA256 Credential=AKIAEXAMPLE/20250101/lambda/aws4_request, {SCOPE}",
        "AWS AKIAEXAMPLE:c2lnbmF0dXJl",
        "AWS3-HTTPS AWSAccessKeyId=AKIAEXAMPLE,Algorithm=HmacSHA256,Signature=0",
        "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/x,Credential=AKIAEXAMPLE/y",
    ],
)
def test_headers_of_other_signatures_name_the_caller(header: str) -> None:
    assert parse_caller(header.encode(), CREDENTIALS) == KNOWN
    assert parse_caller(header.encode(), CREDENTIALS, f"X-Amz-Credential={V4}".encode()) == KNOWN


def test_what_is_kept_of_a_query_says_who_calls() -> None:
    kept = f"X-Amz-Credential={V4}&x-amz-signature=0&X%2DAmz-Date=1&AWSAccessKeyId=A"
    assert keep_signature(f"Qualifier=live&{kept}&a=b".encode()) == kept.encode()
    assert keep_signature(b"Qualifier=live") == keep_signature(b"") == b""


@given(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"X-Amz-Credential=" + tail))
def test_no_query_is_too_strange(header: bytes, query: bytes) -> None:
    caller = parse_caller(header, CREDENTIALS, query)
    assert caller is None or caller.account is None or len(caller.account) == 12
    keep_signature(query)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"AWS4-HMAC-SHA256 Credential=" + tail))
def test_no_bytes_are_too_strange(header: bytes) -> None:
    caller = parse_caller(header, CREDENTIALS)
    assert caller is None or caller.account is None or len(caller.account) == 12
