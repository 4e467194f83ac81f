"""Reclaims the slots of a worker that was killed.

A worker that lives releases them in the store at once. Without one they come back when the dead worker's lease ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from .channel import WorkerGone
from .handle import WorkerHandle

_REPLY_SECONDS = 5.0


async def reclaim_slots(name: str, serving: Iterable[WorkerHandle]) -> None:
    """Releases the slots of the worker `name` through the first of the `serving` workers that replies."""
    for worker in serving:
        with contextlib.suppress(WorkerGone):
            await worker.call("release_slots", name, seconds=_REPLY_SECONDS)
            return
