"""Finds the caller of a request, and the account whose limits apply.

Nothing is verified here: an access key id is only read. So an id that is not in the settings must not get a pool or a
rate of its own. Else invented ids would create capacity.

The id is in the `Authorization` header, or in the query of a presigned request: in `X-Amz-Credential`, by Signature
Version 2 in `AWSAccessKeyId`. A request that names two ids is refused, as AWS refuses one that is signed in both
places. The backend could run it for one account while it is counted for the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from ...invocation import ANONYMOUS, Caller

_CREDENTIAL = re.compile(rb"Credential=([^/,=\s]{1,128})(?:[/,\s]|$)")
_OLD_HEADER = re.compile(rb"(?:AWS |AWS3.*?AWSAccessKeyId=)([^:/,=\s]{1,128})(?:[:,\s]|$)", re.DOTALL)
_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)

# Names are compared without letter case, which backends and their frameworks also do.
_QUERY_NAMES = frozenset({"x-amz-credential", "awsaccesskeyid"})
_MAY_NAME = re.compile(rb"credential|accesskeyid|%", re.IGNORECASE)
_SEPARATORS = re.compile(r"[&;]")
_LONGEST_ID = 128
_MOST_DECODINGS = 3
_WELL_FORMED = re.compile(r"\w{1,128}", re.ASCII)


def parse_caller(authorization: bytes | None, credentials: Mapping[str, str], query: bytes = b"") -> Caller | None:
    """Returns the caller named in an `Authorization` header or a query; `credentials` maps access key ids to account
    ids. None where a request names two.

    A 12-digit access key id is itself the account, as the emulators have it.
    """
    found = _CREDENTIAL.search(authorization) if authorization else None
    access_key_id = found[1].decode("latin-1") if found is not None else None
    if query or (authorization and (found is None or authorization.count(b"Credential=") > 1)):
        named = {*_find_in_header(authorization or b""), *find_in_query(query)}
        if len(named) > 1:
            return None
        access_key_id = next(iter(named), None)
    if access_key_id is None:
        return ANONYMOUS
    account = credentials.get(access_key_id)
    if account is None and _ACCOUNT_ID.fullmatch(access_key_id):
        account = access_key_id
    return Caller(access_key_id, account)


def find_claimed_id(authorization: bytes | None, query: bytes) -> str | None:
    """Returns the access key id that a request names, as a log may show it; None if it names none, two, or one that
    has other characters than those of access keys."""
    claimed = parse_caller(authorization, {}, query)
    if claimed is None or claimed.access_key_id is None or _WELL_FORMED.fullmatch(claimed.access_key_id) is None:
        return None
    return claimed.access_key_id


def find_in_query(query: bytes) -> list[str]:
    """Returns the access key ids that a query names, however its names and values are escaped."""
    if _MAY_NAME.search(query) is None:
        return []
    named = []
    for part in _SEPARATORS.split(query.decode("latin-1")):
        name, _, value = part.partition("=")
        if _decode(name).strip().lower() in _QUERY_NAMES:
            access_key_id = _decode(value).partition("/")[0].strip()
            if 0 < len(access_key_id) <= _LONGEST_ID:
                named.append(access_key_id)
    return named


def keep_signature(query: bytes) -> bytes:
    """Returns the part of a query that names the caller, for a request that is sent in another form."""
    parts = (part for part in query.split(b"&") if _is_of_signature(_decode(part.partition(b"=")[0].decode("latin-1"))))
    return b"&".join(parts)


def _is_of_signature(name: str) -> bool:
    return name.lower().startswith("x-amz-") or name.lower() in _QUERY_NAMES


def _find_in_header(authorization: bytes) -> list[str]:
    old = _OLD_HEADER.match(authorization)
    named = [*_CREDENTIAL.findall(authorization), *([old[1]] if old is not None else [])]
    return [each.decode("latin-1") for each in named]


def _decode(text: str) -> str:
    for _ in range(_MOST_DECODINGS):
        if "%" not in text:
            break
        text = unquote(text)
    return text
