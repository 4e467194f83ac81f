"""The signature of a request: what is valid, what is refused, and in which words. botocore is the signer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from invoke_gateway.invocation import Caller
from invoke_gateway.policy.identity.access_keys import AccessKey
from invoke_gateway.policy.identity.authorization import SIGNATURE_CAUSES, SignatureProblem, _read_known_start
from invoke_gateway.policy.identity.canonical_request import _canonical_path, canonical_path, canonical_value
from invoke_gateway.policy.identity.signature import (
    RequestParts,
    SignedRequest,
    hash_payload,
    open_request,
    parse_date,
)
from tests.support.signing import ARN, KEY_ID, KEYS, NOW, REGION, SECRET, SEVEN_DAYS, judge, read_parts, sign

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("signature_vectors.json").read_text())
TOKEN = "FwoGZXIvYXdzEBYaDtoken+/="


def problem_of(raw: bytes, *, now: datetime = NOW, keys: dict[str, AccessKey] = KEYS) -> SignatureProblem:
    parts, body = read_parts(raw)
    opened = open_request(parts, keys, region=REGION, now=now.timestamp())
    found = opened.check(hash_payload(body)) if isinstance(opened, SignedRequest) else opened
    assert found is not None, "the signature is valid"
    return found


def text_of(raw: bytes, *, now: datetime = NOW, keys: dict[str, AccessKey] = KEYS) -> tuple[str, str]:
    problem = problem_of(raw, now=now, keys=keys)
    assert problem.cause in SIGNATURE_CAUSES
    return problem.refusal.code, problem.text or problem.refusal.message


# ---- what is valid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_each_vector_has_this_canonical_request_and_is_valid(vector: dict[str, Any]) -> None:
    parts, body = read_parts(vector["signed_request"].encode())
    token = vector["token"]
    keys = {KEY_ID: AccessKey(SECRET, Caller(KEY_ID, "111122223333", ARN), token.encode() if token else None)}
    opened = open_request(parts, keys, region=REGION, now=NOW.timestamp())
    assert isinstance(opened, SignedRequest), opened
    assert (opened.start + (opened.declared or hash_payload(body))).decode() == vector["canonical_request"]
    assert opened.signature.decode() == vector["signature"]
    assert opened.check(hash_payload(body)) is None
    assert opened.key.caller == Caller(KEY_ID, "111122223333", ARN)


def test_the_verifier_needs_no_declared_hash_and_takes_one() -> None:
    signed = sign(headers={"X-Amz-Content-Sha256": hash_payload(b"{}").decode()})
    parts, _ = read_parts(signed.to_bytes())
    opened = open_request(parts, KEYS, region=REGION, now=NOW.timestamp())
    assert isinstance(opened, SignedRequest)
    assert opened.check_declared() is None, "known before the body is read"
    assert opened.check(hash_payload(b"[]")) is not None


def test_a_date_in_the_date_header_is_as_good() -> None:
    assert judge(sign(headers={"Date": "Sat, 31 Jan 2026 12:30:05 GMT"}).to_bytes()) is None
    assert judge(sign(headers={"Date": "20260131T123005Z"}).to_bytes()) is None


def test_repeated_signed_headers_count_in_their_order() -> None:
    raw = sign(headers={"My-Header": "b,a"}).to_bytes()
    assert judge(raw.replace(b"My-Header: b,a", b"My-Header: b\r\nMy-Header:  a ")) is None
    assert judge(raw.replace(b"My-Header: b,a", b"My-Header: a\r\nMy-Header: b")) == "mismatch"


def test_a_replay_within_the_window_is_valid_as_on_aws() -> None:
    raw = sign().to_bytes()
    assert judge(raw) is judge(raw, now=NOW + timedelta(minutes=4)) is None


def test_nothing_long_is_kept_of_requests_that_anybody_may_send() -> None:
    before = _canonical_path.cache_info().currsize
    kept = parse_date.cache_info().currsize, _read_known_start.cache_info().currsize
    path = "/" + "x" * 2000
    assert judge(sign(path=path).to_bytes()) is None
    assert _canonical_path.cache_info().currsize == before
    raw = sign().to_bytes()
    assert judge(raw.replace(b"X-Amz-Date: ", b"X-Amz-Date: " + b"1" * 5000)) == "incomplete"
    assert judge(raw.replace(b"SignedHeaders=", b"SignedHeaders=" + b"a;" * 5000)) == "signed_headers"
    assert (parse_date.cache_info().currsize, _read_known_start.cache_info().currsize) == kept


# ---- the texts of AWS ------------------------------------------------------------------------------------------


def test_wrong_secret() -> None:
    code, text = text_of(sign(secret="wrong").to_bytes())
    assert code == "InvalidSignatureException"
    assert text.startswith("The request signature we calculated does not match the signature you provided. Check your")


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_five_minutes_either_way_are_accepted(seconds: int) -> None:
    assert judge(sign(at=NOW + timedelta(seconds=seconds)).to_bytes()) is None


def test_an_old_signature() -> None:
    assert text_of(sign(at=NOW - timedelta(seconds=301)).to_bytes()) == (
        "InvalidSignatureException",
        "Signature expired: 20260131T122504Z is now earlier than 20260131T122505Z (20260131T123005Z - 5 min.)",
    )


def test_a_signature_of_the_future() -> None:
    assert text_of(sign(at=NOW + timedelta(seconds=301)).to_bytes()) == (
        "InvalidSignatureException",
        "Signature not yet current: 20260131T123506Z is still later than 20260131T123505Z (20260131T123005Z + 5 min.)",
    )


def test_an_unknown_key() -> None:
    expected = "UnrecognizedClientException", "The security token included in the request is invalid"
    assert text_of(sign(key_id="AKIAUNKNOWN").to_bytes()) == expected
    assert text_of(sign(token="any").to_bytes()) == expected


def test_no_signature() -> None:
    raw = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: gateway\r\n\r\n"
    assert text_of(raw) == ("MissingAuthenticationTokenException", "Missing Authentication Token")


def test_an_authorization_without_parameters() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: gateway\r\nAuthorization: AWS4-HMAC-SHA256\r\n\r\n"
    assert text_of(raw) == (
        "IncompleteSignatureException",
        " ".join(
            f"Authorization header requires '{name}' parameter."
            for name in ("Credential", "Signature", "SignedHeaders")
        ),
    )


def test_a_part_without_an_equal_sign() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: gateway\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a, x, Signature=c\r\n\r\n"
    code, text = text_of(raw)
    assert code == "IncompleteSignatureException"
    assert text == "'x' not a valid key=value pair (missing equal-sign) in Authorization header."


def test_a_request_without_a_date() -> None:
    raw = re.sub(rb"X-Amz-Date: .*\r\n", b"", sign().to_bytes())
    text = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    assert text_of(raw) == ("IncompleteSignatureException", text)


def test_a_signed_header_that_was_not_sent() -> None:
    raw = sign(headers={"Connection-X": "a"}).to_bytes().replace(b"Connection-X: a\r\n", b"")
    text = "'connection-x' is named as a SignedHeader, but it does not exist in the HTTP request."
    assert text_of(raw) == ("IncompleteSignatureException", text)


def test_another_scope() -> None:
    assert text_of(sign(region="eu-west-1").to_bytes()) == (
        "InvalidSignatureException",
        "Credential should be scoped to a valid region, not 'eu-west-1'. ",
    )
    assert text_of(sign(service="s3").to_bytes())[1] == "Credential should be scoped to correct service: 'lambda'. "


def test_a_scope_of_another_day() -> None:
    raw = sign().to_bytes().replace(b"/20260131/", b"/20260130/")
    assert text_of(raw)[1] == (
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
        " '20260130' != '20260131', from '20260131T123005Z'."
    )


# ---- session tokens --------------------------------------------------------------------------------------------


def keys_with(token: str | None, expires_at: float | None = None) -> dict[str, AccessKey]:
    encoded = token.encode() if token is not None else None
    return {KEY_ID: AccessKey(SECRET, Caller(KEY_ID, "111122223333", ARN), encoded, expires_at)}


@pytest.mark.parametrize("expires", [None, 60])
def test_a_session_token_must_be_the_one_of_the_key(expires: int | None) -> None:
    keys = keys_with(TOKEN)
    assert judge(sign(token=TOKEN, expires=expires).to_bytes(), keys=keys) is None
    assert judge(sign(token=TOKEN[:-1], expires=expires).to_bytes(), keys=keys) == "session_token"
    assert judge(sign(expires=expires).to_bytes(), keys=keys) == "session_token"


def test_an_expired_session() -> None:
    raw = sign(token=TOKEN).to_bytes()
    assert judge(raw, keys=keys_with(TOKEN, NOW.timestamp() + 1)) is None
    assert text_of(raw, keys=keys_with(TOKEN, NOW.timestamp())) == (
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )


# ---- presigned requests ----------------------------------------------------------------------------------------


def test_a_presigned_request_is_valid_until_it_expires() -> None:
    raw = sign(expires=3600, query="Qualifier=prod").to_bytes()
    assert judge(raw, now=NOW + timedelta(seconds=3600)) is None
    assert text_of(raw, now=NOW + timedelta(seconds=3601)) == (
        "InvalidSignatureException",
        "Signature expired: 20260131T123005Z is now earlier than 20260131T123006Z (20260131T133006Z - 3600 sec.)",
    )
    assert judge(raw, now=NOW - timedelta(seconds=301)) == "not_yet_current"


def test_a_presigned_request_of_a_past_day_is_valid_for_its_week() -> None:
    raw = sign(expires=SEVEN_DAYS).to_bytes()
    assert judge(raw, now=NOW + timedelta(days=6)) is None


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "Signature", "SignedHeaders"])
def test_each_parameter_of_a_presigned_request_is_needed_once(name: str) -> None:
    raw = sign(expires=60).to_bytes()
    found = re.search(rb"[?&]X-Amz-%b=([^& ]*)" % name.encode(), raw)
    assert found is not None
    without = raw.replace(found[0], found[0][:1])
    if name != "Algorithm":
        assert judge(without) == "incomplete", "Signature Version 4 is the only one"
    twice = raw.replace(found[0], found[0] + b"&X-Amz-%b=1" % name.encode())
    assert judge(twice) == "incomplete"


@pytest.mark.parametrize("seconds", ["0", "-1", "604801", "1.5", "x", "9" * 5000, "%D9%A1"])
def test_the_validity_is_at_most_a_week(seconds: str) -> None:
    raw = sign(expires=60).to_bytes().replace(b"X-Amz-Expires=60", b"X-Amz-Expires=" + seconds.encode())
    assert judge(raw) == "incomplete"


def test_no_secret_is_in_any_text() -> None:
    assert SECRET not in repr(KEYS)
    assert SECRET not in str(KEYS[KEY_ID])
    opened = open_request(read_parts(sign().to_bytes())[0], KEYS, region=REGION, now=NOW.timestamp())
    assert SECRET not in repr(opened)
    assert "pads" not in repr(opened)


# ---- one changed byte ------------------------------------------------------------------------------------------


@dataclass
class Mutant:
    """Holds the parts of a request as bytes of which one can be changed."""

    method: bytes
    path: bytes
    query: bytes
    lines: list[tuple[bytes, bytes]]
    body: bytes

    def cause(self, token: str | None) -> str | None:
        parts = RequestParts(self.method.decode("latin-1"), self.path, self.query, dict(self.lines), self.lines)
        opened = open_request(parts, keys_with(token), region=REGION, now=NOW.timestamp())
        if isinstance(opened, SignatureProblem):
            return opened.cause
        problem = opened.check(hash_payload(self.body))
        return problem.cause if problem is not None else None


def read_query(query: bytes) -> list[tuple[str, str]]:
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")


def change(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


PLACES = ["method", "path", "query", "host", "x-amz-date", "x-amz-invocation-type", "x-amz-tenant-id", "body"]


@settings(max_examples=1000)
@given(st.sampled_from(VECTORS), st.sampled_from(PLACES), st.integers(0, 10_000), st.integers(1, 255))
def test_any_single_changed_byte_is_refused(vector: dict[str, Any], where: str, at: int, by: int) -> None:
    parts, body = read_parts(vector["signed_request"].encode())
    mutant = Mutant(parts.method.encode(), parts.path, parts.query, list(parts.lines), body)
    if where in ("method", "path", "query", "body"):
        before = getattr(mutant, where)
        assume(before)
        setattr(mutant, where, change(before, at, by))
        if where == "query":  # `%2f` and `%2F` make one query
            assume(read_query(mutant.query) != read_query(before))
        if where == "path":  # as `//` and `/.` do where dots are resolved
            assume(canonical_path(mutant.path) != canonical_path(before))
    else:
        names = [name.decode() for name, _ in mutant.lines]
        assume(where in names)
        index = names.index(where)
        before = mutant.lines[index][1]
        after = change(before, at, by)
        assume(canonical_value(after) != canonical_value(before))
        mutant.lines[index] = (where.encode(), after)
    assert mutant.cause(vector["token"]) is not None


@pytest.mark.parametrize("value", ["", "a  b", "a\tb", " a", "a ", "\t", "a b"])
@pytest.mark.parametrize("other", ["", "c", "c d", "c  d"])
def test_each_blank_of_a_value_counts_as_botocore_counts_it(value: str, other: str) -> None:
    signed = sign(headers={"My-Header": " ".join(value.split()), "My-Other": " ".join(other.split())}).to_bytes()
    sent = re.sub(rb"(?m)^My-Header:.*\r$", b"My-Header: %b\r" % value.encode(), signed)
    sent = re.sub(rb"(?m)^My-Other:.*\r$", b"My-Other: %b\r" % other.encode(), sent)
    assert judge(sent) is None
    assert judge(sent.replace(b"My-Other:", b"My-Other: x")) == "mismatch"
