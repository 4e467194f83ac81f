"""Signs requests with botocore, the independent signer, and reads them back as the gateway does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from invoke_gateway.invocation import Caller
from invoke_gateway.policy.identity.access_keys import AccessKey
from invoke_gateway.policy.identity.canonical_request import EMPTY_HASH
from invoke_gateway.policy.identity.signature import (
    RequestParts,
    SignedRequest,
    hash_payload,
    open_request,
)

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ACCOUNT, ARN = "111122223333", "arn:aws:iam::111122223333:user/alice"
REGION = "us-east-1"
PATH = "/2015-03-31/functions/checkout/invocations"
NOW = datetime(2026, 1, 31, 12, 30, 5, tzinfo=UTC)
KEYS = {KEY_ID: AccessKey(SECRET, Caller(KEY_ID, ACCOUNT, ARN))}
SEVEN_DAYS = 604_800


class Signing(NamedTuple):
    """Holds a signed request and what botocore made on the way.

    lines: the headers as they are sent
    target: path and query as they are sent
    """

    method: str
    target: str
    lines: list[tuple[str, str]]
    body: bytes
    canonical_request: str
    string_to_sign: str
    signature: str

    def to_bytes(self) -> bytes:
        head = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.lines)]
        return "\r\n".join([*head, "", ""]).encode() + self.body


def sign(
    method: str = "POST",
    path: str = PATH,
    query: str = "",
    *,
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
    host: str = "gateway",
    at: datetime = NOW,
    key_id: str = KEY_ID,
    secret: str = SECRET,
    token: str | None = None,
    region: str = REGION,
    service: str = "lambda",
    expires: int | None = None,
) -> Signing:
    """Signs a request as boto3 does: in its Authorization header, or with `expires` (seconds) in its query."""
    date = at.strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(Credentials(key_id, secret, token), service, region)
    given = dict(headers or {})
    if expires is None:
        given |= {"X-Amz-Date": date} if "Date" not in given else {}
        given |= {"X-Amz-Security-Token": token} if token else {}
    else:
        names = ";".join(sorted({"host", *(name.lower() for name in given)}))
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{key_id}/{date[:8]}/{region}/{service}/aws4_request",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": names,
            **({"X-Amz-Security-Token": token} if token else {}),
        }
        added = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
        query = f"{query}&{added}" if query else added
    url = f"http://{host}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=given, data=body)
    request.context["timestamp"] = date
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    signature = signer.signature(text, request)
    lines = [("Host", host), *given.items()]
    if body:
        lines.append(("Content-Length", str(len(body))))
    if expires is None:
        names = signer.signed_headers(signer.headers_to_sign(request))
        scope = f"Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"
        lines.append(("Authorization", f"AWS4-HMAC-SHA256 {scope}"))
    else:
        query += f"&X-Amz-Signature={signature}"
    return Signing(method, path + (f"?{query}" if query else ""), lines, body, canonical, text, signature)


def read_parts(raw: bytes) -> tuple[RequestParts, bytes]:
    """Returns the head of a request on the wire, and its body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    method, _, target = first.partition(b" ")
    target = target.rpartition(b" ")[0]
    path, _, query = target.partition(b"?")
    lines = [(name.lower(), value.strip(b" ")) for name, _, value in (line.partition(b":") for line in rest)]
    return RequestParts(method.decode(), path, query, dict(lines), lines), body


def judge(raw: bytes, *, now: datetime = NOW, keys: dict[str, AccessKey] = KEYS, region: str = REGION) -> str | None:
    """Returns the cause for which a request is refused; None where its signature is valid."""
    parts, body = read_parts(raw)
    opened = open_request(parts, keys, region=region, now=now.timestamp())
    if not isinstance(opened, SignedRequest):
        return opened.cause
    problem = opened.check_declared() or opened.check(hash_payload(body))
    assert hash_payload(b"") == EMPTY_HASH
    return None if problem is None else problem.cause
