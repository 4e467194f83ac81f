"""Verifies signatures with botocore, which shares no code with the gateway: it signs the same request again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .backends import BackendCall

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=(\w{64})"
)


class SignedBy:
    """Holds what a valid signature covers."""

    def __init__(self, access_key_id: str, region: str, service: str, headers: list[str]) -> None:
        self.access_key_id = access_key_id
        self.region = region
        self.service = service
        self.headers = headers


def verify(call: BackendCall, secrets: Mapping[str, str]) -> SignedBy:
    """Returns what the signature of a request covers. Raises AssertionError where it is not valid.

    secrets: the secret of each access key
    """
    written = (call.header(b"authorization") or b"").decode()
    found = _AUTHORIZATION.fullmatch(written)
    assert found is not None, f"no signature: {written!r}"
    access_key_id, day, region, service, names, signature = found.groups()
    date = (call.header(b"x-amz-date") or b"").decode()
    assert date.startswith(day)
    host = (call.header(b"host") or b"").decode()
    headers = {name: (call.header(name.encode()) or b"").decode() for name in names.split(";") if name != "host"}
    request = AWSRequest(call.method.decode(), f"http://{host}{call.target.decode()}", headers=headers, data=call.body)
    request.context["timestamp"] = date
    signer = SigV4Auth(Credentials(access_key_id, secrets[access_key_id]), service, region)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    assert signature == expected, f"another signature is right for\n{canonical}"
    return SignedBy(access_key_id, region, service, names.split(";"))
