"""Detects loops of functions by counting how often a chain of calls has invoked each function.

The Lineage field of `X-Amzn-Trace-Id` follows a chain. A backend gives a function the header of its invocation, and
the SDK sends this header on with each call of the function. AWS writes the field in one of two ways, and does not
publish the rules by which it fills them:

- now as `loop counter:hash:request counter`, such as `1:d0782663:0`, which has room for one function;
- before that as `hash:count` pairs, `a87bd80c:1|68fd508a:5`, up to 16 of them.

Here a hash stands for a function, and its count is the number of its invocations in the chain. One hash alone would
miss A -> B -> A: either B replaces A and the count starts again, or A stays and a loop without A is never counted. So
each function of a chain has its own count. A chain of one function is written the current way, which is short and
which OpenTelemetry's propagators let pass. From the second function on the chain is written as pairs.

When all 16 pairs are in use, a new function replaces one that came only once; its own hash selects which one. This
keeps most of the chain's beginning, for a loop through many functions, and has room for a loop that begins late. Only
loops through more than about 30 functions are sometimes missed.

A lineage that cannot be read is passed on unchanged and counts nothing: it is no reason to refuse a call.
"""

from __future__ import annotations

import re
from hashlib import sha256

from ..invocation import Function
from .arn import make_prefix

TRACE_HEADER = b"x-amzn-trace-id"

BOUND = 16
"""Bounds the invocations of a function in one chain: about the number in Lambda's developer guide."""

_MOST_PAIRS = 16
_GREATEST_LOOP_COUNTER = 32_767
_GREATEST_REQUEST_COUNTER = 255

_SMALL_G = ord("g")
_LARGE_G = ord("G")
_LINEAGE = re.compile(rb"(?:\A|;)[ \t]*lineage=([^;]*)", re.IGNORECASE)
_CURRENT = re.compile(rb"([0-9]{1,5}):([0-9a-f]{8}):([0-9]{1,3})")
_PAIRS = re.compile(rb"[0-9a-f]{8}:[0-9]{1,5}(?:\|[0-9a-f]{8}:[0-9]{1,5}){0,15}")
# As botocore sends `|` on (add_recursion_detection_header in its handlers.py), in lower case.
_QUOTED_BAR = b"%7c"


class Lineage:
    """Counts the invocations of each function in a chain, by hash. `requests` is the request counter of the current
    format. Its meaning is not published, so it stays unchanged."""

    __slots__ = ("counts", "requests")

    def __init__(self, counts: dict[bytes, int], requests: int = 0) -> None:
        self.counts = counts
        self.requests = requests

    def is_over(self, function: bytes) -> bool:
        """Returns whether one more invocation of this function closes a loop. A count beyond the bound is a loop that
        another gateway let continue, whatever its hash."""
        return self.counts.get(function, 0) >= BOUND or any(count > BOUND for count in self.counts.values())

    def add(self, function: bytes) -> None:
        """Adds an invocation of the function with this hash. A function that may loop is counted up to the bound, so
        that the functions which it calls are not refused for it."""
        counts = self.counts
        if function in counts:
            counts[function] = max(counts[function], min(counts[function] + 1, BOUND))
            return
        if len(counts) >= _MOST_PAIRS:
            once = [each for each, count in counts.items() if count <= 1]
            if not once:
                return
            places = once[:-1] or once  # not the newest, or two functions could for ever take it from each other
            del counts[places[int(function, 16) % len(places)]]
        counts[function] = 1

    def __bytes__(self) -> bytes:
        if len(self.counts) == 1:
            ((function, count),) = self.counts.items()
            return b"%d:%b:%d" % (count, function, self.requests)
        return b"|".join(b"%b:%d" % pair for pair in self.counts.items())


def hash_function(region: str, account: str, name: str) -> bytes:
    """Returns the name of a function in a lineage: the same in every gateway, for all versions and aliases."""
    arn = make_prefix(Function(name), region, account) + name
    return sha256(arn.encode()).hexdigest()[:8].encode()


def may_have_lineage(header: bytes) -> bool:
    """Returns whether a trace header may have a lineage. Most have none: no other field of AWS has a `g`, and a byte is
    found in a fifth of the time that a word takes."""
    return (_SMALL_G in header or _LARGE_G in header) and header.lower().find(b"lineage") >= 0


def is_loop(header: bytes, function: bytes) -> bool:
    """Returns whether an invocation with this trace header is one too many of the function with this hash."""
    found = _LINEAGE.search(header)
    lineage = parse_lineage(found[1]) if found is not None else None
    return lineage is not None and lineage.is_over(function)


def extend(header: bytes, function: bytes) -> bytes:
    """Returns the trace header with one more invocation of the function in its lineage. It is unchanged if the lineage
    cannot be read."""
    found = _LINEAGE.search(header) if may_have_lineage(header) else None
    if found is None:
        separator = b"" if not header or header.endswith(b";") else b";"
        return b"%b%bLineage=%b" % (header, separator, begin_lineage(function))
    lineage = parse_lineage(found[1])
    if lineage is None:
        return header
    lineage.add(function)
    return header[: found.start(1)] + bytes(lineage) + header[found.end(1) :]


def begin_lineage(function: bytes) -> bytes:
    """Returns the lineage of a chain that begins with the function with this hash."""
    return b"1:%b:0" % function


def parse_lineage(text: bytes) -> Lineage | None:
    """Returns the lineage in either format, None if it is in neither."""
    text = text.strip(b" \t").lower().replace(_QUOTED_BAR, b"|")
    current = _CURRENT.fullmatch(text)
    if current is not None:
        count, requests = int(current[1]), int(current[3])
        if count > _GREATEST_LOOP_COUNTER or requests > _GREATEST_REQUEST_COUNTER:
            return None
        return Lineage({current[2]: count}, requests)
    if _PAIRS.fullmatch(text) is None:
        return None
    counts: dict[bytes, int] = {}
    for pair in text.split(b"|"):
        function, _, count_text = pair.partition(b":")
        counts[function] = min(counts.get(function, 0) + int(count_text), _GREATEST_LOOP_COUNTER)
    return Lineage(counts)
