"""The time in which a process could read, and the time-outs that count it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from invoke_gateway.listener.protocol import InvokeProtocol
from invoke_gateway.listener.timeouts import enforce_timeouts
from invoke_gateway.upstream.connection import BackendConnection
from invoke_gateway.upstream.idle_timeouts import IdleTimeouts
from invoke_gateway.watched_time import WatchedTime
from tests.support.virtual_time import VirtualLoop, run_in_virtual_time

LIMIT = 8.0  # seconds
KEEP_ALIVE = 20.0


def test_regular_checks_count_whole() -> None:
    clock = WatchedTime(100.0, longest_step=2.0)
    assert [clock.advance(now) for now in (101.0, 103.0, 103.5)] == [0.0, 0.0, 0.0]
    assert clock.seconds == 3.5


def test_of_a_process_that_stood_still_no_more_than_one_step_counts() -> None:
    clock = WatchedTime(100.0, longest_step=2.0)
    clock.advance(101.0)
    assert clock.advance(161.0) == 58.0
    assert clock.advance(162.0) == 0.0
    assert clock.seconds == 4.0


class Peer:
    """Stands for a connection to a client, or to the backend, which never gets on. `ended_at`: when it was cut."""

    received = 0
    call = object()
    stalled_at: float | None = None
    stalled_step: object = None
    ended_at: float | None = None

    def __init__(self, idle_since: float | None = None) -> None:
        self.idle_since = idle_since

    def waits_for_client(self) -> str | None:
        return "head" if self.idle_since is None else None

    def waits_for_backend(self) -> bool:
        return True

    def has_idled(self, now: float) -> bool:
        return self.idle_since is not None and now - self.idle_since >= KEEP_ALIVE

    def cut(self, *_: object) -> None:
        if self.ended_at is None:
            self.ended_at = asyncio.get_running_loop().time()

    close = abort = cut


async def cut_client(then: Awaitable[None], peer: Peer) -> None:
    checks = asyncio.create_task(enforce_timeouts({cast("InvokeProtocol", peer)}, LIMIT, KEEP_ALIVE))
    await then
    checks.cancel()


async def cut_backend(then: Awaitable[None], peer: Peer) -> None:
    timeouts = IdleTimeouts([cast("BackendConnection", peer)], LIMIT, LIMIT)
    timeouts.watch(asyncio.get_running_loop())
    await then
    timeouts.stop()


async def go_on(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def stand_still(seconds: float) -> None:
    """Moves the clock on after some checks, as if nothing had run meanwhile."""
    await asyncio.sleep(LIMIT / 2)
    cast("VirtualLoop", asyncio.get_running_loop()).now += seconds
    await asyncio.sleep(LIMIT / 4)


Cut = Callable[[Awaitable[None], Peer], Any]


@pytest.mark.parametrize("cut", [cut_client, cut_backend])
def test_a_peer_without_progress_is_cut(cut: Cut) -> None:
    peer = Peer()
    run_in_virtual_time(cut(go_on(2 * LIMIT), peer))
    assert peer.ended_at is not None
    assert LIMIT <= peer.ended_at <= 1.5 * LIMIT


@pytest.mark.parametrize("cut", [cut_client, cut_backend])
def test_while_this_process_stands_still_no_peer_is_without_progress(cut: Cut) -> None:
    """A machine stands still with both of them: what the peer sends next comes after the check that is overdue."""
    peer = Peer()
    run_in_virtual_time(cut(stand_still(10 * LIMIT), peer))
    assert peer.ended_at is None


def test_an_idle_connection_is_closed_only_after_what_came_meanwhile_was_read() -> None:
    peer = Peer(idle_since=0.0)
    run_in_virtual_time(cut_client(stand_still(10 * KEEP_ALIVE), peer))
    assert peer.ended_at is not None
    assert peer.ended_at > 10 * KEEP_ALIVE + LIMIT / 2, "not by the check that is overdue"
