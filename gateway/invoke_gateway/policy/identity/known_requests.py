"""Verifies requests by what they have in common with earlier ones whose signatures were valid.

A client sends the same requests again and again, with other values and other bodies. What is common is found by one
look-up. It is kept of valid requests alone, and only finds a signature valid or not. `open_request` decides whatever
else there is to say of a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest

from ..concurrency import Plan
from .access_keys import AccessKey
from .authorization import SIGNATURE_LENGTH, SignatureClaim, SignatureProblem, read_header
from .canonical_request import ALGORITHM, Pads, canonical_path, canonical_query
from .signature import DATE_LENGTH, WINDOW_SECONDS, RequestParts, SignedRequest, check_token, parse_date

_MOST = 4096  # requests that are kept
_LONGEST = 2048  # bytes of a head that is kept, without the values of its headers
_REPLACED_AFTER = 60.0  # seconds for which a full table stays as it is: to fill it costs more than it saves
_VALUE = b"\0"  # stands for a value; no name of a header and no canonical path has it

_TOKEN, _HASH = b"x-amz-security-token", b"x-amz-content-sha256"

_join = b" ".join

Head = tuple[bytes | str, ...]
"""Holds what known requests have in common: the start of their `Authorization`, path, query, method, and the names of
all headers."""


class KnownRequest:
    """Holds what follows from the head that requests have in common.

    caller: the caller that a valid signature proves
    plan: the plan of each such call, whatever its values; None: permissions or limits depend on them
    """

    __slots__ = (
        "_at",
        "_date",
        "_day",
        "_has_session",
        "_inner",
        "_is_declared",
        "_key",
        "_outer",
        "_pads",
        "_pick",
        "_scope",
        "_template",
        "caller",
        "plan",
    )

    def __init__(
        self, claim: SignatureClaim, key: AccessKey, pads: Pads, target: tuple[bytes, ...], names: Iterable[bytes]
    ) -> None:
        """target: method, path and query in their canonical form"""
        self.caller = key.caller
        self.plan: Plan | None = None
        self._key = key
        self._has_session = key.session_token is not None or key.expires_at is not None or _TOKEN in names
        self._is_declared = _HASH in names
        self._day = claim.day
        self._scope = claim.scope
        self._pick = claim.pick
        start = claim.template % (*target, *(_VALUE for _ in claim.names))
        self._template = start.replace(b"%", b"%%").replace(_VALUE, b"%b")
        self._pads = pads
        self._outer = pads[1]
        # Of the last date: its text, its time, and the hash that begins with it. Clients send it for a second.
        self._date = b""
        self._at = 0.0
        self._inner = pads[0]

    def check(self, headers: Mapping[bytes, bytes], body: bytes, signature: bytes, now: float) -> bool | None:
        """Returns whether a request with this head has a valid signature; None where `open_request` has to decide.

        headers: by name, none of them repeated
        body: the whole body, which is not empty
        now: seconds since the epoch
        """
        date = headers[b"x-amz-date"]
        if date != self._date and not self._use_date(date):
            return None
        if not -WINDOW_SECONDS <= self._at - now <= WINDOW_SECONDS:
            return None
        if self._has_session and check_token(self._key, headers.get(_TOKEN, b""), now) is not None:
            return None
        payload_hash = sha256(body).hexdigest().encode()
        if self._is_declared and headers[_HASH] != payload_hash:
            return None
        values = self._pick(headers)
        together = _join(values)
        if _join(together.split()) != together:  # then one of them is not canonical, or empty
            return None
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(sha256(self._template % values + payload_hash).hexdigest().encode())
        outer.update(inner.digest())
        return compare_digest(outer.hexdigest().encode(), signature)

    def _use_date(self, date: bytes) -> bool:
        at = parse_date(date) if len(date) == DATE_LENGTH else None
        if at is None or date[:8] != self._day:
            return False
        self._date, self._at = date, at
        self._inner = self._pads[0].copy()
        self._inner.update(b"%b\n%b\n%b\n" % (ALGORITHM, date, self._scope))
        return True

    def __repr__(self) -> str:
        return f"<KnownRequest {self._key!r} {self._day.decode()}>"


class KnownRequests:
    """Keeps known requests by their heads.

    by_head: those that are kept
    """

    def __init__(self) -> None:
        self.by_head: dict[Head, KnownRequest] = {}
        self._full_until = 0.0

    def keep(self, request: RequestParts, signed: SignedRequest, *, region: str, now: float) -> KnownRequest | None:
        """Keeps what a request with a valid signature has in common with others, and returns it; None where it is not
        kept.

        now: seconds since the epoch
        """
        made = _make(request, signed, region)
        if made is None:
            return None
        head, known = made
        if len(self.by_head) >= _MOST:
            if now < self._full_until:
                return None
            self.by_head.clear()
        self.by_head[head] = known
        self._full_until = now + _REPLACED_AFTER
        return known


def _make(request: RequestParts, signed: SignedRequest, region: str) -> tuple[Head, KnownRequest] | None:
    method, path, query, headers, lines = request
    authorization = headers.get(b"authorization", b"")
    if b"x-amz-date" not in headers or b"content-encoding" in headers or len(headers) != len(lines):
        return None
    head: Head = (authorization[:-SIGNATURE_LENGTH], path, query, method, *headers)
    if not authorization.startswith(b"Signature=", -SIGNATURE_LENGTH - len(b"Signature=")):
        return None  # the signature is not at the end
    claim, _ = read_header(authorization, region)
    if isinstance(claim, SignatureProblem) or sum(map(len, head)) > _LONGEST:
        return None
    target = (method.encode(), canonical_path(path), canonical_query(query))
    return head, KnownRequest(claim, signed.key, signed.pads, target, headers)
