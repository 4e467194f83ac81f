"""Upper bounds of real time are judged in `make soak` only: on a busy machine they say nothing about the code.

A test that has one is marked `lateness`. It runs in `make test` too, where what it waits for must come, however late.
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
    """In `make soak`: no more than `seconds` have passed since `began` on the monotonic clock."""
    took = time.monotonic() - began
    assert not is_judged or took < seconds, f"took {took:.2f} s, and {seconds:g} s are allowed"


def check_lasted(began: float, seconds: float) -> None:
    """At least `seconds` have passed since `began` on the monotonic clock, by the clock of any event loop."""
    took = time.monotonic() - began
    assert took >= seconds - CLOCK_STEP, f"took {took:.4f} s, and {seconds:g} s had to pass"


def end_at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` returns without waiting for anything, on any machine."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError(f"{work} waits for something")


class Pace:
    """A client's steps: `was_late` where one took longer than it may, so that what a gateway did then says nothing."""

    def __init__(self, longest: float) -> None:
        self.was_late = False
        self._longest = longest
        self._last = time.monotonic()

    def step(self) -> None:
        now = time.monotonic()
        self.was_late |= now - self._last > self._longest
        self._last = now


def try_in_time(attempt: Callable[[Pace], None], longest: float) -> None:
    """Make `attempt`, anew where one of its steps took more than `longest` seconds and it failed; skip in the end."""
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
