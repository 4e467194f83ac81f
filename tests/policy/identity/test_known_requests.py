"""What is kept of valid requests decides a signature as `open_request` does, or leaves the decision to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoke_gateway.invocation import Caller
from invoke_gateway.policy.identity import known_requests
from invoke_gateway.policy.identity.access_keys import AccessKey
from invoke_gateway.policy.identity.authorization import SIGNATURE_LENGTH
from invoke_gateway.policy.identity.known_requests import KnownRequests
from invoke_gateway.policy.identity.signature import RequestParts, SignedRequest, hash_payload, open_request
from tests.support.signing import ARN, KEY_ID, KEYS, NOW, PATH, REGION, SECRET, judge, read_parts, sign

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("signature_vectors.json").read_text())
TOKEN = "FwoGZXIvYXdzEBYaDtoken+/="
MINUTES = timedelta(minutes=1)


def keys_with(token: str | None = TOKEN, expires_at: datetime | None = None) -> dict[str, AccessKey]:
    ends = expires_at.timestamp() if expires_at else None
    return {KEY_ID: AccessKey(SECRET, Caller(KEY_ID, "111122223333", ARN), token.encode() if token else None, ends)}


def keep(raw: bytes, keys: dict[str, AccessKey] = KEYS, *, known: KnownRequests | None = None) -> KnownRequests:
    """Returns the table after it has met a valid request."""
    known = known or KnownRequests()
    parts, body = read_parts(raw)
    opened = open_request(parts, keys, region=REGION, now=NOW.timestamp())
    assert isinstance(opened, SignedRequest), opened
    assert opened.check(hash_payload(body)) is None
    known.keep(parts, opened, region=REGION, now=NOW.timestamp())
    return known


def decide(known: KnownRequests, raw: bytes, *, now: datetime = NOW) -> bool | None:
    """Returns what the table finds of a request, as the stage uses it; None where the request is unknown."""
    parts, body = read_parts(raw)
    return decide_parts(known, parts, body, now=now)


def decide_parts(known: KnownRequests, parts: RequestParts, body: bytes, *, now: datetime = NOW) -> bool | None:
    authorization = parts.headers.get(b"authorization", b"")
    head = (authorization[:-SIGNATURE_LENGTH], parts.path, parts.query, parts.method, *parts.headers)
    found = known.by_head.get(head)
    if found is None or len(parts.headers) != len(parts.lines):
        return None
    return found.check(parts.headers, body, authorization[-SIGNATURE_LENGTH:], now.timestamp())


# ---- what is common to requests --------------------------------------------------------------------------------


def test_another_date_value_and_body_of_a_known_client_are_valid() -> None:
    known = keep(sign(headers={"X-Amz-Log-Type": "Tail"}).to_bytes())
    for minutes in (0, 1, -3):
        later = sign(headers={"X-Amz-Log-Type": "None"}, body=b'{"n": 1}', at=NOW + minutes * MINUTES).to_bytes()
        assert decide(known, later) is True
        assert decide(known, later[:-1] + b"]") is False
        assert decide(known, sign(headers={"X-Amz-Log-Type": "None"}, secret="wrong").to_bytes()) is False
    assert len(known.by_head) == 1


def test_no_vector_is_found_wrong_and_most_are_found_valid() -> None:
    raws = [(vector["signed_request"].encode(), keys_with(vector["token"])) for vector in VECTORS]
    found = [decide(keep(raw, keys), raw) for raw, keys in raws]
    assert False not in found
    assert found.count(True) > len(found) / 2


@pytest.mark.parametrize(
    "other",
    [
        sign(path=PATH.replace("checkout", "checkouts")),
        sign("PUT"),
        sign(query="Qualifier=1"),
        sign(headers={"X-Amz-Log-Type": "Tail"}),
        sign(key_id="AKIAOTHER"),
        sign(at=NOW + timedelta(days=1)),
    ],
)
def test_another_head_is_unknown(other: Any) -> None:
    assert decide(keep(sign().to_bytes()), other.to_bytes()) is None


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        (sign(expires=60).to_bytes(), KEYS),
        (sign(headers={"Date": "20260131T123005Z"}).to_bytes(), KEYS),
        (sign(headers={"Content-Encoding": "gzip"}).to_bytes(), KEYS),
        (sign().to_bytes().replace(b"Host: gateway", b"A: 1\r\nA: 2\r\nHost: gateway"), KEYS),
        (sign(query="x=" + "y" * 2000).to_bytes(), KEYS),
    ],
    ids=["presigned", "date", "encoded", "repeated", "long"],
)
def test_requests_of_rare_kinds_are_not_kept(raw: bytes, keys: dict[str, AccessKey]) -> None:
    assert not keep(raw, keys).by_head


def test_a_signature_that_is_not_the_last_parameter_is_not_kept() -> None:
    raw = sign().to_bytes()
    start, _, signature = raw.partition(b", Signature=")
    scheme, _, rest = start.rpartition(b"AWS4-HMAC-SHA256 ")
    swapped = b"%bAWS4-HMAC-SHA256 Signature=%b, %b%b" % (scheme, signature[:64], rest, signature[64:])
    assert judge(swapped) is None
    assert not keep(swapped).by_head


# ---- what is left to `open_request` ----------------------------------------------------------------------------


def test_a_known_request_is_bound_to_its_window() -> None:
    raw = sign().to_bytes()
    known = keep(raw)
    assert decide(known, raw, now=NOW + 5 * MINUTES) is True
    assert decide(known, raw, now=NOW + 5 * MINUTES + timedelta(seconds=1)) is None
    assert decide(known, raw, now=NOW - 5 * MINUTES - timedelta(seconds=1)) is None


@pytest.mark.parametrize("date", [b"20260131T123005", b"20260131T123065Z", b"20260201T000000Z", b"x" * 5000, b""])
def test_a_date_that_is_none_or_of_another_day_is_left_to_open_request(date: bytes) -> None:
    raw = sign().to_bytes()
    known = keep(raw)
    assert decide(known, raw.replace(b"20260131T123005Z", date, 1)) is None
    assert decide(known, raw) is True, "the date before is in use again"


def test_a_wrong_declared_hash_is_left_to_open_request() -> None:
    raw = sign(headers={"X-Amz-Content-Sha256": hash_payload(b"{}").decode()}).to_bytes()
    known = keep(raw)
    assert decide(known, raw) is True
    assert decide(known, raw[:-2] + b"[]") is None


def test_a_session_ends_and_its_token_counts() -> None:
    raw = sign(token=TOKEN).to_bytes()
    known = keep(raw, keys_with(expires_at=NOW + MINUTES))
    assert decide(known, raw) is True
    assert decide(known, raw, now=NOW + MINUTES) is None
    assert decide(known, sign(token=TOKEN[:-1] + "x").to_bytes()) is None
    empty = sign(headers={"X-Amz-Security-Token": ""}).to_bytes()
    known = keep(empty)
    assert decide(known, sign(headers={"X-Amz-Security-Token": "x"}).to_bytes()) is None


@pytest.mark.parametrize("value", ["", "a  b", "a\tb", "a\vb"])
def test_a_value_that_is_not_canonical_is_left_to_open_request(value: str) -> None:
    known = keep(sign(headers={"My-Header": "a b"}).to_bytes())
    sent = sign(headers={"My-Header": "a b"}).to_bytes().replace(b": a b", b": " + value.encode())
    assert decide(known, sent) is None


def test_percents_of_names_and_paths_are_kept_as_they_are() -> None:
    known = keep(sign(path="/2015-03-31/functions/a%3Ab/invocations", headers={"my%b": "%b %s"}).to_bytes())
    assert len(known.by_head) == 1
    again = sign(path="/2015-03-31/functions/a%3Ab/invocations", headers={"my%b": "%d"}, body=b"1").to_bytes()
    assert decide(known, again) is True


@settings(max_examples=600)
@given(st.sampled_from(VECTORS), st.integers(0, 10_000), st.integers(1, 255), st.integers(-400, 400))
def test_it_never_disagrees_with_open_request(vector: dict[str, Any], at: int, by: int, seconds: int) -> None:
    raw = vector["signed_request"].encode()
    keys = keys_with(vector["token"])
    known = keep(raw, keys)
    at %= len(raw)
    changed = raw[:at] + bytes([raw[at] ^ by]) + raw[at + 1 :]
    now = NOW + timedelta(seconds=seconds)
    for sent in (raw, changed):
        try:
            parts, body = read_parts(sent)
        except ValueError:
            return
        found = decide_parts(known, parts, body, now=now)
        if found is not None:
            assert judge(sent, now=now, keys=keys) == (None if found else "mismatch")


# ---- bounds ----------------------------------------------------------------------------------------------------


def test_a_full_table_stays_for_a_minute_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_requests, "_MOST", 3)
    known = KnownRequests()
    for number in range(5):
        keep(sign(path=f"/2015-03-31/functions/f{number}/invocations").to_bytes(), known=known)
    assert [head[1] for head in known.by_head] == [b"/2015-03-31/functions/f%d/invocations" % n for n in range(3)]
    parts, _ = read_parts(sign().to_bytes())
    opened = open_request(parts, KEYS, region=REGION, now=NOW.timestamp())
    assert isinstance(opened, SignedRequest)
    assert known.keep(parts, opened, region=REGION, now=NOW.timestamp() + 61) is not None
    assert len(known.by_head) == 1


def test_no_secret_is_in_any_text() -> None:
    (known,) = keep(sign().to_bytes()).by_head.values()
    assert SECRET not in repr(known)
    assert "pads" not in repr(known)
