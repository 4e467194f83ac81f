"""Runs a proof on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def run_on_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Does the work on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM and its kin, and
    `KeyboardInterrupt` after Ctrl-C."""
    try:
        import uvloop
    except ImportError:  # uvloop has no build for this platform
        return asyncio.run(_work_until_signal(work))
    result: T = uvloop.run(_work_until_signal(work))
    return result


async def _work_until_signal(work: Callable[[], Awaitable[T]]) -> T:
    """Ends the work by a signal, so that the started gateway does not stay behind. The loop has all handlers, also
    that of SIGINT: an exception that a handler raises in an idle loop may be lost."""
    task = asyncio.current_task()
    assert task is not None
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        task.cancel()

    with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on an event loop
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
            loop.add_signal_handler(number, task.cancel)
    try:
        return await work()
    except asyncio.CancelledError:
        if interrupted.is_set():
            raise KeyboardInterrupt from None
        raise


def allow_many_sockets() -> None:
    """Raises the limit of open files: every client and every slot needs one."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
