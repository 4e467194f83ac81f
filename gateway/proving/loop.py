"""The event loop of a proof."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def run_on_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Do it on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM."""
    try:
        import uvloop
    except ImportError:  # uvloop has no build for this platform
        return asyncio.run(_work_until_told(work))
    result: T = uvloop.run(_work_until_told(work))
    return result


async def _work_until_told(work: Callable[[], Awaitable[T]]) -> T:
    """SIGTERM and its kin end it as Ctrl-C does: the gateway that was started must not stay behind."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError):  # on Windows
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work()


def allow_many_sockets() -> None:
    """As many open files as this process may have: every client and every slot needs one."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
