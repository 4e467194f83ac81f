"""Writes whole requests, head and body, that are signed in the gateway's own name.

A gateway sends the same few kinds of requests again and again: one path, one query, and the same names of headers. What
follows from these is kept for each kind. Then a request is written in one step, and `forward` sends it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any

from ..policy.identity.canonical_request import canonical_value
from ..policy.identity.request_signer import DATE_GAP, INVOKE_HEADERS, RequestSigner, drop_signature, keep_own_headers
from .headers import is_end_to_end, is_persistence

_MOST_KINDS = 4096
_LONGEST_KIND = 2048  # bytes of path, query and names
_VALUE, _AUTHORIZATION = b"\1", b"\2"  # stand for values; no name of a header and no canonical path has them
_GAPS = (DATE_GAP, _VALUE, _AUTHORIZATION)
_MINUTE = slice(13)  # of a date such as 20260131T235959Z

_Names = tuple[bytes, ...]
_Pick = Callable[[Mapping[bytes, bytes]], tuple[bytes, ...]]


class MessageKind:
    """Holds what requests of one kind have in common.

    pick: returns the values of the headers that are sent on
    pick_signed: returns the values of those that are signed; None: none is
    has_connection: the client sends a Connection header, whose value counts
    date: the date of the two texts
    canonical: the canonical request up to the hash, with `%b` for each signed value
    message: the message with `%b` for each value, the signature and the body
    """

    __slots__ = (
        "_canonical_template",
        "_message_template",
        "_signed_names",
        "canonical",
        "date",
        "has_connection",
        "message",
        "pick",
        "pick_signed",
    )

    def __init__(self, signer: RequestSigner, path: bytes, query: bytes, names: _Names) -> None:
        kept = [name for name, _ in keep_own_headers((name, b"") for name in names) if name != b"connection"]
        signed = [(name, _VALUE) for name in kept if name in INVOKE_HEADERS]
        self.pick = _make_pick(kept)
        self.pick_signed = _make_pick(sorted(name for name, _ in signed)) if signed else None
        self.has_connection = b"connection" in names
        canonical, signed_names = signer.write_canonical(b"POST", path, query, signed)
        self._canonical_template = _escape(canonical)
        self._signed_names = signed_names
        target = b"%b?%b" % (path, query) if query else path
        lines = [
            b"POST %b HTTP/1.1" % target,
            *(b"%b: %b" % (name, _VALUE) for name in kept),
            b"host: " + signer.host,
            *(b"%b: %b" % header for header in signer.list_added(DATE_GAP, _AUTHORIZATION)),
        ]
        self._message_template = _escape(b"\r\n".join([*lines, b"", b""]))
        self.date = self.canonical = self.message = b""

    def use_date(self, signer: RequestSigner, date: bytes) -> None:
        """Writes the date of the next messages.

        signer: signs on the day of the date
        """
        self.canonical = self._canonical_template.replace(DATE_GAP, date)
        authorization = _escape(signer.start_authorization(self._signed_names)) + b"%b"
        self.message = self._message_template.replace(DATE_GAP, date).replace(_AUTHORIZATION, authorization) + b"%b"
        self.date = date


def _escape(text: bytes) -> bytes:
    return text.replace(b"%", b"%%").replace(_VALUE, b"%b")


def _make_pick(names: list[bytes]) -> _Pick:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda headers: tuple([headers[name] for name in names])  # for one name, itemgetter returns no tuple


class SignedMessages:
    """Writes messages that one signer signs."""

    def __init__(self, signer: RequestSigner) -> None:
        self.signer = signer
        self._date = b""
        self._inner: Any = None  # of the date
        self._outer: Any = None
        self._kinds: dict[_Names, MessageKind | None] = {}
        self._cleared_in = b""

    def write(
        self, path: bytes, query: bytes, headers: dict[bytes, bytes], body: bytes | bytearray, date: bytes
    ) -> bytes | None:
        """Returns a POST request as it is sent; None where it is of a rare kind, so that it is written in parts.

        path, query: as they are on the wire
        headers: by name, none of them repeated; Content-Length is right
        body: the whole body
        date: the time of the signature, as in 20260131T235959Z
        """
        key = (path, query, *headers)
        try:
            kind = self._kinds[key]
        except KeyError:
            kind = self._learn(path, query, headers, date, key)
        if kind is None:
            return None
        if date is not self._date:
            self._inner, self._outer = self.signer.use_date(date)
            self._date = date
        if date is not kind.date:
            kind.use_date(self.signer, date)
        if kind.has_connection and not is_persistence(headers[b"connection"]):
            return None
        pick_signed = kind.pick_signed
        values: tuple[bytes, ...] = ()
        if pick_signed is not None:
            values = pick_signed(headers)
            if any(canonical_value(value) != value for value in values):
                return None
        payload_hash = sha256(body).hexdigest().encode()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(sha256(kind.canonical % values + payload_hash).hexdigest().encode())
        outer.update(inner.digest())
        return kind.message % (*kind.pick(headers), outer.hexdigest().encode(), body)

    def _learn(
        self, path: bytes, query: bytes, headers: dict[bytes, bytes], date: bytes, key: _Names
    ) -> MessageKind | None:
        """Keeps what follows from a kind: None where its requests are written in parts."""
        if sum(map(len, key)) > _LONGEST_KIND:
            return None
        if len(self._kinds) >= _MOST_KINDS:
            if date[_MINUTE] == self._cleared_in:
                return None  # a full table stays as it is for a while: to fill it costs more than it saves
            self._kinds.clear()
            self._cleared_in = date[_MINUTE]
        of_request = {name: value for name, value in headers.items() if name != b"connection"}
        is_rare = not is_end_to_end(of_request) or drop_signature(query) != query or _has_gap(path + query)
        kind = self._kinds[key] = None if is_rare else MessageKind(self.signer, path, query, tuple(headers))
        return kind

    def __repr__(self) -> str:
        return f"<SignedMessages {len(self._kinds)} kinds by {self.signer!r}>"


def _has_gap(text: bytes) -> bool:
    return any(gap in text for gap in _GAPS)
