"""Judges upper bounds of real time in `make soak` only: on a busy machine they do not depend on the code.

A test that has one is marked `lateness`. It runs in `make test` too, and waits there for its results, however late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

ATTEMPTS = 10

CLOCK_STEP = 0.01  # seconds: the clock of an event loop stands still in a tick, and uvloop's counts milliseconds

is_judged = False  # set by tests/conftest.py where `lateness` was asked for


def judge(began: float, seconds: float) -> None:
    """Asserts, in `make soak`, that no more than `seconds` have passed since `began` on the monotonic clock."""
    took = time.monotonic() - began
    assert not is_judged or took < seconds, f"took {took:.2f} s, and {seconds:g} s are allowed"


def check_lasted(began: float, seconds: float) -> None:
    """Asserts that at least `seconds` have passed since `began`, by the monotonic clock and by any event loop's."""
    took = time.monotonic() - began
    assert took >= seconds - CLOCK_STEP, f"took {took:.4f} s, and {seconds:g} s had to pass"


def check_is_age(age: float, began: float) -> None:
    """Asserts that `age` (seconds) is above 0, and no more than has passed since `began` by the monotonic clock.

    This upper bound holds on every machine."""
    passed = time.monotonic() - began
    assert 0 < age <= passed + CLOCK_STEP, f"{age} s, of something that began {passed:.4f} s ago"


def end_at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Returns the result of `work`, which must not wait for anything, on any machine."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError(f"{work} waits for something")


class Pace:
    """Times a client's steps. `was_late`: a step took too long, so the gateway's reaction proves nothing."""

    def __init__(self, longest: float) -> None:
        self.was_late = False
        self._longest = longest
        self._last = time.monotonic()

    def step(self) -> None:
        now = time.monotonic()
        self.was_late |= now - self._last > self._longest
        self._last = now


def try_in_time(attempt: Callable[[Pace], None], longest: float) -> None:
    """Makes `attempt`, and repeats it if it failed and one of its steps took more than `longest` seconds. Skips in the
    end."""
    for _ in range(ATTEMPTS):
        pace = Pace(longest)
        try:
            attempt(pace)
        except (AssertionError, OSError):
            pace.step()
            if not pace.was_late:
                raise
        else:
            return
    pytest.skip("not judged: the machine is too slow for a client that must keep its pace")
