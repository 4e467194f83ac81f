"""Reads single members of a JSON object, also of one that a strict parser refuses.

An error is worth its text even where the rest of its object is damaged: a lone surrogate, a NaN, bytes that are no
UTF-8, nesting without end, an end that was cut off. Nothing is descended into, so depth costs nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice

# Strings, the punctuation, and runs of whatever else: numbers, literals, damage.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]|[^\s\[\]{},:"]++', re.DOTALL)
_MOST_TOKENS = 50_000  # a tenth of a second
_OPEN, _CLOSE, _QUOTE, _COLON, _COMMA = b"[{", b"]}", b'"', b":", b","


def read_members(body: bytes) -> dict[bytes, bytes] | None:
    """Returns the members of the object that `body` is, each value as its own text; None where it is no object.

    A name is the bytes between its quotes. Of a name that comes twice the last value counts, as in most parsers.
    """
    members: dict[bytes, bytes] = {}
    depth = 0
    name: bytes | None = None
    start: int | None = None  # of the value that is being read
    for token in islice(_TOKEN.finditer(body), _MOST_TOKENS):
        text = token[0]
        if depth == 0 and text != b"{":
            return None
        if text in _OPEN:
            depth += 1
        elif text in _CLOSE:
            depth -= 1
        elif text == _QUOTE:  # a string that does not end
            return members
        if depth == 0 or (depth == 1 and text == _COMMA):
            if name is not None and start is not None:
                members[name] = body[start : token.start()].strip()
            name = start = None
            if depth == 0:
                return members
        elif depth == 1 and start is None:
            if text == _COLON:
                start = token.end()
            elif text.startswith(_QUOTE):
                name = text[1:-1] if b"\\" not in text else (read_string(text) or "").encode()
    return members if depth else None


def read_string(value: bytes | None) -> str | None:
    """Returns the text of a JSON string, None where `value` is none. What has no character becomes U+FFFD."""
    if value is None or not value.startswith(_QUOTE):
        return None
    try:
        text = json.loads(value.decode(errors="replace"), strict=False)
    except ValueError:
        return None
    assert isinstance(text, str)
    # UTF-16 joins the two halves of a pair, and shows a half that is alone.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def find_string(body: bytes, names: Iterable[bytes]) -> str | None:
    """Returns the first of these members that is a string with something in it; None where the object has none."""
    members = read_members(body)
    if members is None:
        return None
    return next((text for name in names if (text := read_string(members.get(name)))), None)
