"""A gateway in a process of its own that claims all of a lane and, told so by a line, says what became of each
event."""

from __future__ import annotations

import asyncio
import sys

from invoke_gateway.queue.redis.store import StreamStore


async def main(url: str, prefix: str, lease: float, lane: str, now: float) -> None:
    store = StreamStore(url, gateway="paused", lease_seconds=lease, timeout_seconds=1, prefix=prefix)
    await store.open(lambda *_: None)
    events = (await store.claim_due(lane, now, 100, 1 << 30)).events
    print("claimed", len(events), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for event in events:
        if event.request_id.startswith("finish"):
            await store.ack(event)
        elif event.request_id.startswith("rewrite"):
            event.runs = 50
            await store.update(event)
        elif event.request_id.startswith("back"):
            await store.release([event])
        else:
            event.runs, event.due_at = 50, now - 50
            await store.requeue(event)
    again = (await store.claim_due(lane, now + 1, 100, 1 << 30)).events
    print("refused", store.totals.refused, "lost", store.totals.lost_leases, "again", len(again), flush=True)
    await store.close()


url, prefix, lease, lane, now = sys.argv[1:]
asyncio.run(main(url, prefix, float(lease), lane, float(now)))
