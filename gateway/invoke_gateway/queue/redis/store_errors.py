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

# A code of the protocol begins an error, or stands within it where a script ran into it. Where redis-py has a class for
# it, the code is gone and the class is left.
_CODE = re.compile(r"\b[A-Z]{3,}\b")
_REFUSALS: tuple[tuple[frozenset[str], tuple[type[RedisError], ...], Literal["full", "away"], str], ...] = (
    (
        frozenset({"OOM"}),
        (OutOfMemoryError,),
        "full",
        "the queue's store has used all of its maxmemory: raise maxmemory, or let events be worked off",
    ),
    (
        frozenset({"MISCONF"}),
        (),
        "full",
        "the queue's store cannot write its files: look at its disk and its log",
    ),
    (
        frozenset({"READONLY"}),
        (ReadOnlyError,),
        "away",
        "the queue's store has become a replica, which may not be written: give the primary's address",
    ),
    (frozenset({"LOADING"}), (BusyLoadingError,), "away", "the queue's store still reads its files"),
    (
        frozenset({"MOVED", "CLUSTERDOWN", "CROSSSLOT"}),
        (MovedError, ClusterDownError, ClusterCrossSlotError),
        "away",
        "the queue's store is a node of a cluster that has not these keys: {line}",
    ),
    (frozenset({"NOSCRIPT"}), (NoScriptError,), "away", "the queue's store has forgotten its scripts"),
)


def read_refusal(error: ResponseError) -> StoreError:
    """Return a store's error as ours, with the remedy."""
    said = frozenset(_CODE.findall(str(error)))
    for codes, classes, kind, text in _REFUSALS:
        if isinstance(error, classes) or said & codes:
            return StoreError(kind, text.format(line=first_line(error)))
    return StoreError("failed", f"the queue's store says: {first_line(error)}")
