"""Who a request says it is from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.invocation import ANONYMOUS, Caller
from gateway.policy.access import parse_caller

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
    assert parse_caller(f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE{rest}".encode(), CREDENTIALS).account is not None
    longer = parse_caller(f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE.more{rest}".encode(), CREDENTIALS)
    assert longer == Caller("AKIAEXAMPLE.more", None)


def test_digits_of_other_scripts_make_no_account() -> None:
    assert parse_caller("AWS4-HMAC-SHA256 Credential=١٢٣٤٥٦٧٨٩٠١٢/x".encode(), {}).account is None


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"AWS4-HMAC-SHA256 Credential=" + tail))
def test_no_bytes_are_too_strange(header: bytes) -> None:
    caller = parse_caller(header, CREDENTIALS)
    assert caller.account is None or len(caller.account) == 12
