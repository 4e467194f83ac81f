"""A gateway in a process of its own that runs what waits: it writes down each run, has some fail once, and settles."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.redis.store import StreamStore


async def main(url: str, prefix: str, lease: float, lane: str, path: str) -> None:
    store = StreamStore(url, gateway="works", lease_seconds=lease, timeout_seconds=1, prefix=prefix)
    bell = asyncio.Event()
    await store.open(lambda *_: bell.set())
    runs = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    print("ready", flush=True)
    while True:
        bell.clear()
        try:
            fetched = await store.claim_due(lane, time.time(), 16, 1 << 20)
        except StoreError:
            await asyncio.sleep(0.05)
            continue
        for event in fetched.events:
            await asyncio.sleep(0.001)  # it runs
            os.write(runs, f"{event.request_id} {event.runs}\n".encode())
            if event.runs == 0 and event.body == b"fails once":
                event.runs, event.due_at = 1, time.time() + 0.3
                await store.requeue(event)
            else:
                await store.ack(event)
        if not fetched.events:
            wait = 1.0 if fetched.next_due_at is None else min(1.0, max(0.001, fetched.next_due_at - time.time()))
            try:
                async with asyncio.timeout(wait):
                    await bell.wait()
            except TimeoutError:
                pass


url, prefix, lease, lane, path = sys.argv[1:]
asyncio.run(main(url, prefix, float(lease), lane, path))
