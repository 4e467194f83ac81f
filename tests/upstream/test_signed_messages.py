"""Whole signed messages are those that are written and signed header by header."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.identity.request_signer import RequestSigner, SigningCredentials, keep_own_headers
from invoke_gateway.upstream import signed_messages
from invoke_gateway.upstream.signed_messages import SignedMessages
from tests.support.signing import hash_payload

HOST = b"lambda.us-east-1.amazonaws.com"
PATH = b"/2015-03-31/functions/checkout/invocations"
DATE = b"20260131T120000Z"
BODY = b'{"order": 7}'
CLIENTS = {
    b"host": b"gateway",
    b"user-agent": b"Boto3/1 100%b",
    b"authorization": b"AWS4-HMAC-SHA256 Credential=AKIACLIENT/x, Signature=0",
    b"x-amz-date": b"20260131T115959Z",
    b"x-amz-source-arn": b"evil",
    b"content-length": b"12",
    b"x-amzn-trace-id": b"Root=1",
}
MORE: dict[str, dict[bytes, bytes]] = {
    "plain": {},
    "signed": {b"x-amz-log-type": b"Tail", b"x-amz-invocation-type": b"RequestResponse"},
    "tenant": {b"x-amz-tenant-id": b"a b"},
    "kept open": {b"connection": b"keep-alive"},
    "percents": {b"my%b": b"%s %%", b"%": b"\xff"},
}


def make_signer(token: str | None = "token") -> RequestSigner:
    return RequestSigner(SigningCredentials("AKIAGATEWAY", "secret", token), host=HOST, region="us-east-1")


def read(message: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert len(headers) == len(lines), "no header is repeated"
    return first, headers, body


def write_in_parts(path: bytes, query: bytes, headers: dict[bytes, bytes], body: bytes, date: bytes, token: str | None):
    own = keep_own_headers((name, value) for name, value in headers.items() if name != b"connection")
    added = make_signer(token).sign(b"POST", path, query, own, hash_payload(body), date)
    target = path + b"?" + query if query else path
    return b"POST %b HTTP/1.1" % target, {**dict(own), b"host": HOST, **dict(added)}, body


@pytest.mark.parametrize("token", [None, "token"])
@pytest.mark.parametrize("query", [b"", b"Qualifier=%24LATEST"])
@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_a_message_is_what_its_parts_are(more: dict[bytes, bytes], query: bytes, token: str | None) -> None:
    messages = SignedMessages(make_signer(token))
    headers = {**CLIENTS, **more}
    dates = [DATE, DATE, b"20260131T120001Z", b"20260201T000000Z", DATE]
    for number, date in enumerate(dates):
        headers |= {b"user-agent": b"agent %d" % number}
        body = BODY + b" " * number
        for path in (PATH, PATH.replace(b"checkout", b"arn%3Aaws%3Alambda")):
            written = messages.write(path, query, dict(headers), body, date)
            assert written is not None
            assert read(written) == write_in_parts(path, query, headers, body, date, token)


@pytest.mark.parametrize(
    ("query", "more"),
    [
        (b"X-Amz-Date=1&Qualifier=1", {}),
        (b"", {b"transfer-encoding": b"chunked"}),
        (b"", {b"te": b"trailers"}),
        (b"", {b"proxy-authorization": b"x"}),
        (b"", {b"connection": b"user-agent"}),
        (b"", {b"x-amz-log-type": b"Tail "}),
        (b"", {b"x-amz-tenant-id": b"a  b"}),
        (b"a=\0", {}),
        (b"a=\1", {}),
        (b"a=" + b"b" * 2048, {}),
    ],
)
def test_rare_kinds_are_left_to_be_written_in_parts(query: bytes, more: dict[bytes, bytes]) -> None:
    messages = SignedMessages(make_signer())
    for _ in range(2):
        assert messages.write(PATH, query, {**CLIENTS, **more}, BODY, DATE) is None
    assert messages.write(PATH, b"", dict(CLIENTS), BODY, DATE) is not None


def test_a_request_without_a_length_is_left() -> None:
    headers = {name: value for name, value in CLIENTS.items() if name != b"content-length"}
    assert SignedMessages(make_signer()).write(PATH, b"", headers, BODY, DATE) is None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_messages, "_MOST_KINDS", 2)
    messages = SignedMessages(make_signer())

    def write(number: int, date: bytes = DATE) -> bool:
        return messages.write(PATH + b"%d" % number, b"", dict(CLIENTS), BODY, date) is not None

    assert [write(number) for number in range(6)] == [True, True, True, True, False, False]
    assert [write(2), write(3)] == [True, True], "those that are kept stay"
    assert write(4, b"20260131T120100Z"), "a minute later the table begins again"
    assert len(messages._kinds) == 1
    assert "secret" not in repr(messages)
