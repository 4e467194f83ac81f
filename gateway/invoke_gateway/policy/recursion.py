"""Whether an invocation is one turn of a loop: how often its chain of calls has been through each function.

A chain is followed by the Lineage field of `X-Amzn-Trace-Id`. Whoever runs a function gives it the header that its
invocation came with, and the SDK sends that on with what the function calls. AWS writes the field in one of two ways,
and how it fills them is not published:

- now as `loop counter:hash:request counter`, such as `1:d0782663:0`, which has room for one function;
- before that as `hash:count` pairs, `a87bd80c:1|68fd508a:5`, up to 16 of them.

Here a hash stands for a function, and its count says how often the chain has invoked it. With one hash alone A -> B ->
A would not be seen: either B takes the place of A and the count begins anew, or A keeps it and a loop that A is no part
of is never counted. So each function of a chain has its own count. What one hash can say is written the current way,
which OpenTelemetry's propagators let pass and which stays short: a new chain, and a function that only calls itself.
From the second function on the chain is written as pairs.

When all 16 pairs are in use, another function takes the place of one that came only once; its own hash says of which.
That keeps most of the chain's beginning, for a loop through many functions, and has room for one that begins late. Only
loops through more than about 30 functions go unseen now and then.

A lineage that cannot be read is passed on as it is and counts nothing: it is no reason to refuse a call.
"""

from __future__ import annotations

import re
from hashlib import sha256

from ..invocation import Function
from .arn import make_prefix

TRACE_HEADER = b"x-amzn-trace-id"

BOUND = 16
"""How often one chain may invoke a function: about so often, says Lambda's developer guide on recursive loops."""

_MOST_PAIRS = 16
_GREATEST_LOOP_COUNTER = 32_767
_GREATEST_REQUEST_COUNTER = 255

_LINEAGE = re.compile(rb"(?:\A|;)[ \t]*lineage=([^;]*)", re.IGNORECASE)
_CURRENT = re.compile(rb"([0-9]{1,5}):([0-9a-f]{8}):([0-9]{1,3})")
_PAIRS = re.compile(rb"[0-9a-f]{8}:[0-9]{1,5}(?:\|[0-9a-f]{8}:[0-9]{1,5}){0,15}")
# As botocore sends `|` on (add_recursion_detection_header in its handlers.py), in lower case.
_QUOTED_BAR = b"%7c"


class Lineage:
    """How often a chain has invoked each function, by hash. `requests` is the current format's request counter: nobody
    says what it counts, so it stays as it came, while there is room for it."""

    __slots__ = ("counts", "requests")

    def __init__(self, counts: dict[bytes, int], requests: int = 0) -> None:
        self.counts = counts
        self.requests = requests

    def is_over(self, function: bytes) -> bool:
        """Whether the function with this hash may not be invoked once more. A count beyond the bound is a loop that
        somebody else let go on, whoever's hash it has; AWS's own hashes are not known here."""
        return self.counts.get(function, 0) >= BOUND or any(count > BOUND for count in self.counts.values())

    def add(self, function: bytes) -> None:
        """The chain invokes the function with this hash. A function that may loop is counted up to the bound, so that
        others which it calls are not refused for it."""
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
    """What stands for a function in a lineage: the same in every gateway, for all its versions and aliases."""
    arn = make_prefix(Function(name), region, account) + name
    return sha256(arn.encode()).hexdigest()[:8].encode()


def may_have_lineage(header: bytes) -> bool:
    """Whether it is worth while to look for a lineage: most trace headers have none, and this costs a tenth."""
    return b"lineage" in header.lower()


def is_loop(header: bytes, function: bytes) -> bool:
    """Whether an invocation with this trace header is one too many of the function with this hash."""
    found = _LINEAGE.search(header)
    lineage = parse_lineage(found[1]) if found is not None else None
    return lineage is not None and lineage.is_over(function)


def extend(header: bytes, function: bytes) -> bytes:
    """The trace header for the function with this hash: its lineage counts one invocation more, all else is as it was.
    Unchanged where the lineage cannot be read."""
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
    """The lineage of a chain that begins with the function with this hash."""
    return b"1:%b:0" % function


def parse_lineage(text: bytes) -> Lineage | None:
    """The lineage that either format says, None where it is neither."""
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
