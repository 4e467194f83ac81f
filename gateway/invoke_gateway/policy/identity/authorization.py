"""Reads what the signature of a request claims: from its `Authorization` header, or from its query (presigned).

Texts of AWS are used where they are known. None of them repeats the header, which AWS does: an error may be logged by a
client, and the header is a credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ...refusals import Refusal
from .canonical_request import ALGORITHM

SERVICE = b"lambda"
SIGNATURE_LENGTH = 64
"""Holds the length of a signature in hex digits."""

_TERMINATOR = b"aws4_request"
_LONGEST_KEPT = 2048  # bytes of a header whose parsed form is kept; SDKs send about 200
_LONGEST_SHOWN = 40  # characters of a wrong part that a text repeats
_LONGEST_ID = 128
_MOST_NAMES = 256  # signed headers
_PARAMETERS = (b"Credential", b"Signature", b"SignedHeaders")
_DAY = re.compile(rb"[0-9]{8}")
_SCHEME = re.compile(rb"([A-Za-z0-9-]{1,40})[ \t]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_LACKING = "Authorization header requires '{}' parameter."
_ANY_SIGNATURE = re.compile(rb"amz|access|%", re.IGNORECASE)
_QUERY_NAMES = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Date",
    b"X-Amz-Expires",
    b"X-Amz-Signature",
    b"X-Amz-SignedHeaders",
)
_OF_SIGNATURES = frozenset({b"x-amz-signature", b"x-amz-credential", b"x-amz-algorithm", b"awsaccesskeyid"})


SIGNATURE_CAUSES = (
    "algorithm",
    "expired",
    "expired_token",
    "incomplete",
    "mismatch",
    "missing",
    "not_yet_current",
    "payload",
    "scope",
    "session_token",
    "signed_headers",
    "two_signatures",
    "unknown_key",
)
"""Lists the causes of all problems."""


class SignatureProblem(NamedTuple):
    """Holds the refusal of a request whose signature is not valid.

    cause: the label of the metric
    """

    cause: str
    refusal: Refusal
    text: str = ""


@dataclass(frozen=True, slots=True)  # not a named tuple, whose attributes take longer to read
class SignatureClaim:
    """Holds what a signature claims.

    scope: the credential without the access key id
    names: the signed headers, in order
    pick: returns their values, or raises KeyError
    template: the canonical request up to the hash, with `%b` for method, path, query, and the value of each header
    amz_names: the number of times that the signed headers have x-amz- in their names
    """

    access_key_id: str
    day: bytes
    scope: bytes
    names: tuple[bytes, ...]
    pick: Callable[[Mapping[bytes, bytes]], tuple[bytes, ...]]
    template: bytes
    amz_names: int


class Presigned(NamedTuple):
    """Holds a claim of a query. `token` is empty if the query has none."""

    claim: SignatureClaim
    signature: bytes
    date: bytes
    seconds: int
    token: bytes


def incomplete(text: str) -> SignatureProblem:
    return SignatureProblem("incomplete", Refusal.INCOMPLETE_SIGNATURE, text)


def invalid(cause: str, text: str) -> SignatureProblem:
    return SignatureProblem(cause, Refusal.INVALID_SIGNATURE, text)


def shorten(value: bytes) -> str:
    """Returns a part of a request as a text may repeat it."""
    text = "".join(c if " " <= c <= "~" else "?" for c in value[: _LONGEST_SHOWN + 1].decode("latin-1"))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def read_header(value: bytes, region: str) -> tuple[SignatureClaim | SignatureProblem, bytes]:
    """Returns the claim of an `Authorization` header, and its signature."""
    start = value[:-SIGNATURE_LENGTH]
    if start.endswith(b"Signature=") and len(start) <= _LONGEST_KEPT:
        # Nearly always: all but the signature is the same in each request of a client on one day.
        return _read_known_start(start, region), value[-SIGNATURE_LENGTH:]
    parts = _read_parameters(value)
    if isinstance(parts, SignatureProblem):
        return parts, b""
    return make_claim(parts[b"Credential"], parts[b"SignedHeaders"], region), parts[b"Signature"]


@lru_cache(1024)
def _read_known_start(start: bytes, region: str) -> SignatureClaim | SignatureProblem:
    parts = _read_parameters(start + b"0" * SIGNATURE_LENGTH)
    if isinstance(parts, SignatureProblem):
        return parts
    return make_claim(parts[b"Credential"], parts[b"SignedHeaders"], region)


def _read_parameters(value: bytes) -> dict[bytes, bytes] | SignatureProblem:
    algorithm, _, rest = value.partition(b" ")
    if algorithm != ALGORITHM:
        scheme = _SCHEME.match(value)
        if scheme is None or scheme[1] == ALGORITHM:
            return incomplete(" ".join(_LACKING.format(name.decode()) for name in _PARAMETERS))
        return refuse_algorithm(scheme[1])
    parts: dict[bytes, bytes] = {}
    for part in map(bytes.strip, rest.split(b",")) if rest else ():
        name, equals, found = part.partition(b"=")
        if not equals:
            text = f"'{shorten(part)}' not a valid key=value pair (missing equal-sign) in Authorization header."
            return incomplete(text)
        if name in parts or name not in _PARAMETERS:
            how = "has more than one" if name in parts else "does not take a"
            return incomplete(f"Authorization header {how} '{shorten(name)}' parameter.")
        parts[name] = found
    lacking = [_LACKING.format(name.decode()) for name in _PARAMETERS if not parts.get(name)]
    return incomplete(" ".join(lacking)) if lacking else parts


def refuse_algorithm(algorithm: bytes) -> SignatureProblem:
    known = {b"AWS": "Signature Version 2", b"AWS4-ECDSA-P256-SHA256": "Signature Version 4A"}.get(algorithm)
    named = f" ({known})" if known else ""
    text = f"Unsupported AWS 'algorithm': '{shorten(algorithm)}'{named}. Sign the request with AWS4-HMAC-SHA256."
    return SignatureProblem("algorithm", Refusal.INCOMPLETE_SIGNATURE, text)


def make_claim(credential: bytes, signed: bytes, region: str) -> SignatureClaim | SignatureProblem:
    """Returns the claim of a credential and of a list of signed headers, both as they are in a request."""
    parts = credential.split(b"/", 5)
    if len(parts) != 5 or not all(parts) or len(parts[0]) > _LONGEST_ID:
        return incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,"
            f" got '{shorten(credential)}'"
        )
    access_key_id, day, named_region, service, terminator = parts
    wrong = ""
    if named_region != region.encode():
        wrong += f"Credential should be scoped to a valid region, not '{shorten(named_region)}'. "
    if service != SERVICE:
        wrong += f"Credential should be scoped to correct service: '{SERVICE.decode()}'. "
    if terminator != _TERMINATOR:
        wrong += f"Credential should be scoped with a valid terminator: 'aws4_request', not '{shorten(terminator)}'. "
    if _DAY.fullmatch(day) is None:
        wrong += f"Credential should be scoped to a date in the form YYYYMMDD, not '{shorten(day)}'. "
    if wrong:
        return invalid("scope", wrong)
    names = signed.split(b";", _MOST_NAMES)
    if len(names) > _MOST_NAMES:
        return invalid("signed_headers", f"SignedHeaders has more than {_MOST_NAMES} names.")
    if any(_NAME.fullmatch(name) is None for name in names) or names != sorted(set(names)):
        return invalid("signed_headers", "SignedHeaders must have each name once, in lower case and in order.")
    if b"host" not in names:
        return invalid("signed_headers", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    scope = credential[len(access_key_id) + 1 :]
    lines = b"".join(b"%b:%%b\n" % name.replace(b"%", b"%%") for name in names)
    template = b"%%b\n%%b\n%%b\n%b\n%b\n" % (lines, signed.replace(b"%", b"%%"))
    access_key = access_key_id.decode("latin-1")
    return SignatureClaim(access_key, day, scope, tuple(names), _make_pick(names), template, count_amz(names))


def _make_pick(names: list[bytes]) -> Callable[[Mapping[bytes, bytes]], tuple[bytes, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda headers: (headers[names[0]],)  # for one name, itemgetter returns no tuple


def count_amz(names: Iterable[bytes]) -> int:
    """Counts how often names of headers have x-amz-, nearly always at their beginning."""
    return b"\n".join(names).count(b"x-amz-")


def names_signature(query: bytes) -> bool:
    """Returns whether a query has a part of a signature, whatever its letter case."""
    if _ANY_SIGNATURE.search(query) is None:
        return False
    names = (part.partition(b"=")[0] for part in query.split(b"&"))
    return any(unquote_to_bytes(name).strip().lower() in _OF_SIGNATURES for name in names)


def read_query(query: bytes, region: str) -> Presigned | SignatureProblem:
    """Returns the claim of a presigned request."""
    found: dict[bytes, bytes] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        name = unquote_to_bytes(name)
        if name == b"AWSAccessKeyId":
            return refuse_algorithm(b"AWS")
        if name.startswith(b"X-Amz-"):
            if name in found:
                return incomplete(f"AWS query-string parameters must include '{shorten(name)}' only once.")
            found[name] = unquote_to_bytes(value)
    algorithm = found.get(b"X-Amz-Algorithm", ALGORITHM)
    if algorithm != ALGORITHM:
        return refuse_algorithm(algorithm)
    lacking = [name.decode() for name in _QUERY_NAMES if not found.get(name)]
    if lacking:
        texts = " ".join(f"AWS query-string parameters must include '{name}'." for name in lacking)
        return incomplete(f"{texts} Re-examine the query-string parameters.")
    seconds = found[b"X-Amz-Expires"]
    if not seconds.isdigit() or not 0 < int(seconds[:9]) <= 604_800 or len(seconds) > 9:
        return incomplete("X-Amz-Expires must be a number of seconds from 1 to 604800 (a week).")
    if found.get(b"X-Amz-Content-Sha256") is not None:
        return invalid(
            "payload", "The hash of the payload is not a parameter of the query. Leave X-Amz-Content-Sha256 out."
        )
    claim = make_claim(found[b"X-Amz-Credential"], found[b"X-Amz-SignedHeaders"], region)
    if isinstance(claim, SignatureProblem):
        return claim
    token = found.get(b"X-Amz-Security-Token", b"")
    return Presigned(claim, found[b"X-Amz-Signature"], found[b"X-Amz-Date"], int(seconds), token)
