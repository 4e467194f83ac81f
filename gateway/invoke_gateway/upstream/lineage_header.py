"""Extends the lineage of each call in its trace header (`policy/recursion.py`), so that loops can be seen.

The trace header may be changed on the way: SDKs do not sign it (`SIGNED_HEADERS_BLACKLIST` in botocore's auth.py,
`ALWAYS_UNSIGNABLE_HEADERS` in the AWS SDK for JavaScript).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from secrets import randbits
from time import time

from ..policy.counter_names import split_counter
from ..policy.recursion import TRACE_HEADER, begin_lineage, extend, hash_function
from .headers import Headers

_BEGIN = b"\r\nX-Amzn-Trace-Id: "
_BEFORE = b"\n%b: " % TRACE_HEADER
_BEFORE_BYTES = len(_BEFORE)
_LINE = re.compile(rb"\n%b:[ \t]*" % TRACE_HEADER, re.IGNORECASE)
_KNOWN_FUNCTIONS = 8192  # functions whose hash is kept; the hash of others takes a few microseconds each time


class LineageHeader:
    """Writes trace headers. Functions are named by their counters (`Plan.function_counter`): one look-up is cheaper
    than two.

    region: the Region of the functions
    now: seconds since the epoch
    """

    def __init__(self, region: str, *, now: Callable[[], float] = time) -> None:
        self._region = region
        self._now = now
        self._second = 0
        self._next_second = 0
        self._start = b""
        self._last_start = 0  # of a value in its head: clients repeat their heads, and a search takes ten times as long
        # A root's 24 hex digits walk on from a random number, by a step that makes neighbours look different: as unique
        # as random ones, for a tenth of their price. They stay 24 for 2**46 calls.
        self._walk = count(1 << 95 | randbits(94), 0x9E37_79B9_7F4B)
        self._find = lru_cache(_KNOWN_FUNCTIONS)(self._describe)

    def write(self, head: bytes, given: bytes | None, function: str, may_have_lineage: bool) -> bytes | None:
        """Returns a request's head as bytes, its trace header extended by this function. None: the value `given` is not
        found in the head. One without a trace header gets one behind its first line, which ends in nothing but CR and
        LF.

        may_have_lineage: False: `given` has none
        """
        if given is None:
            return head.replace(b"\r\n", self._begin(function), 1)
        start = self._find_value(head, given)
        if start is None:
            return None
        end = start + len(given)
        known = self._find(function)
        if given and not may_have_lineage and not given.endswith(b";"):
            return b"%b%b%b" % (head[:end], known[2], head[end:])
        return head[:start] + extend(given, known[0]) + head[end:]

    def _find_value(self, head: bytes, given: bytes) -> int | None:
        """Returns the offset of the trace header's value `given` in a head; None if it is not there unchanged."""
        start = self._last_start
        end = start + len(given)
        if end > len(head) or head[start:end] != given:
            start = head.find(given)
        # Nearly always: what is so rare as a root is not elsewhere, too.
        if given and start >= _BEFORE_BYTES and head[start - _BEFORE_BYTES : start].lower() == _BEFORE:
            self._last_start = start
            return start
        found = _LINE.search(head)
        return found.end() if found is not None and head.startswith(given, found.end()) else None

    def add(self, headers: Headers, function: str) -> Headers:
        """Returns a request's headers, names in lower case, their lineage extended by this function."""
        for key, _ in headers:
            if key == TRACE_HEADER:
                hashed = self._find(function)[0]
                return [(key, extend(value, hashed) if key == TRACE_HEADER else value) for key, value in headers]
        return [(TRACE_HEADER, self._begin(function)[len(_BEGIN) : -2]), *headers]

    def _begin(self, function: str) -> bytes:
        """Returns the header line, between two line ends, of a chain that begins with this function."""
        now = self._now()
        if not self._second <= now < self._next_second:  # writing a number is expensive
            self._second = int(now)
            self._next_second = self._second + 1
            self._start = b"%bRoot=1-%08x-" % (_BEGIN, self._second)
        return b"%b%x%b" % (self._start, next(self._walk), self._find(function)[1])

    def _describe(self, function: str) -> tuple[bytes, bytes, bytes]:
        """Returns the function's hash, and two beginnings of a chain: as the end of a header line, and behind other
        fields."""
        account, name = split_counter(function)
        hashed = hash_function(self._region, account, name or "")
        field = b";Lineage=%b" % begin_lineage(hashed)
        return hashed, b";Sampled=0%b\r\n" % field, field
