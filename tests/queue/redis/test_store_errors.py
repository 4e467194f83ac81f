"""Checks that a server's error is classified by its code or redis-py's class for it, never by its words."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from invoke_gateway.queue.redis.store_errors import read_refusal


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OutOfMemoryError("whatever it says"), "full", "Raise maxmemory"),
        (ResponseError("OOM whatever it says"), "full", "Raise maxmemory"),
        # Redis 6.2, where a script ran into it
        (ResponseError("Error running script (call to f_1): @user_script:1: OOM whatever"), "full", "Raise maxmemory"),
        (ResponseError("MISCONF whatever it says"), "full", "Check its disk"),
        (ReadOnlyError("whatever it says"), "unavailable", "Give the primary's address"),
        (ResponseError("READONLY whatever it says"), "unavailable", "Give the primary's address"),
        (BusyLoadingError("whatever it says"), "unavailable", "still loading its files"),
        (MovedError("1 127.0.0.1:7000"), "unavailable", "a node of a cluster without these keys (1 127.0.0.1:7000)"),
        (ClusterDownError("whatever it says"), "unavailable", "a node of a cluster"),
        (ResponseError("CROSSSLOT whatever it says"), "unavailable", "a node of a cluster"),
        (NoScriptError("whatever it says"), "unavailable", "lost its scripts"),
        (
            ResponseError("ERR the memory is MOVEDISH, and Loading"),
            "failed",
            "returned an error: ERR the memory is MOVEDISH",
        ),
        (ResponseError(""), "failed", "returned an error: ResponseError"),
    ],
)
def test_a_refusal_is_known_by_its_code(error: ResponseError, kind: str, text: str) -> None:
    fault = read_refusal(error)
    assert fault.kind == kind
    assert text in str(fault)
