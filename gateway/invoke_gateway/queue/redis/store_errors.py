"""Maps the errors in a store's replies to `StoreError`, by the protocol's code or redis-py's class, not by words."""

from __future__ import annotations

import re
from typing import Literal

from redis.exceptions import (
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ...store.errors import first_line
from ..base import StoreError

# A code of the protocol begins an error, or stands within it where a script met it. Where redis-py has a class for the
# error, the code is removed.
_CODE = re.compile(r"\b[A-Z]{3,}\b")
_REFUSALS: tuple[tuple[frozenset[str], tuple[type[RedisError], ...], Literal["full", "unavailable"], str], ...] = (
    (
        frozenset({"OOM"}),
        (OutOfMemoryError,),
        "full",
        "The event store has used all of its maxmemory. Raise maxmemory, or let the queue drain.",
    ),
    (
        frozenset({"MISCONF"}),
        (),
        "full",
        "The event store cannot write its files. Check its disk and its log.",
    ),
    (
        frozenset({"READONLY"}),
        (ReadOnlyError,),
        "unavailable",
        "The event store has become a read-only replica. Give the primary's address.",
    ),
    (frozenset({"LOADING"}), (BusyLoadingError,), "unavailable", "The event store is still loading its files. Wait."),
    (
        frozenset({"MOVED", "CLUSTERDOWN", "CROSSSLOT"}),
        (MovedError, ClusterDownError, ClusterCrossSlotError),
        "unavailable",
        "The event store is a node of a cluster without these keys ({line}). Give one server that is no cluster.",
    ),
    (
        frozenset({"NOSCRIPT"}),
        (NoScriptError,),
        "unavailable",
        "The event store has lost its scripts. They are sent again.",
    ),
)


def read_refusal(error: ResponseError) -> StoreError:
    """Returns a server's error with the action for the operator."""
    found = frozenset(_CODE.findall(str(error)))
    for codes, classes, kind, text in _REFUSALS:
        if isinstance(error, classes) or found & codes:
            return StoreError(kind, text.format(line=first_line(error)))
    return StoreError("failed", f"The event store returned an error: {first_line(error)}. Check its log.")
