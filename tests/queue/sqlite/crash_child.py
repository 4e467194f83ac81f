"""A process with a store of its own, which says on its output what the store has answered.

`python -m tests.queue.sqlite.crash_child ACTION FILE NUMBER`:

put FILE FIRST      puts and ends events, numbered from FIRST on, until it is killed
fill FILE BYTES     puts events until the file is so big, or, with 0, its file system full
"""

from __future__ import annotations

import asyncio
import resource
import sys
from itertools import count
from pathlib import Path

from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.sqlite.store import SqliteStore


def event(request_id: str) -> Event:
    body = b"x" * 3_000
    return Event(request_id, "default", "f", "arn", b"/", b"", [], body, 1.0, 1.0, "lane")


async def put_until_killed(path: Path, first: int) -> None:
    store = SqliteStore(path)
    await store.open(lambda *_: None)
    numbers = count(first)

    async def putter() -> None:
        for number in numbers:
            one = event(str(number))
            await store.enqueue(one)
            sys.stdout.write(f"put {number}\n")
            sys.stdout.flush()
            if number % 3 == 0:
                for mine in (await store.claim_due("lane", 1.0, 1, 1)).events:
                    sys.stdout.write(f"ending {mine.request_id}\n")
                    sys.stdout.flush()
                    await store.ack(mine)
                    sys.stdout.write(f"ended {mine.request_id}\n")
                    sys.stdout.flush()

    await asyncio.gather(*(putter() for _ in range(16)))


async def fill(path: Path, limit: int) -> None:
    """Until nothing more can be written: by a limit on the size of files, or else on a file system that is as small as
    that. Then there is room again, and everything that ended meanwhile ends."""
    ballast = path.with_name("ballast")
    ballast.write_bytes(b"x" * 500_000)
    store = SqliteStore(path)
    await store.open(lambda *_: None)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or most, most))
    kept: list[str] = []
    try:
        for number in count():
            await store.enqueue(event(str(number)))
            kept.append(str(number))
    except StoreError as fault:
        print("refused", fault.kind, fault, flush=True)
    print("trouble", store.problem, flush=True)
    fetched = await store.claim_due("lane", 1.0, 100, 1 << 30)
    ends = asyncio.gather(*(store.ack(one) for one in fetched.events))
    await asyncio.wait([ends], timeout=0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    ballast.unlink()
    await ends
    await store.enqueue(event("after"))
    print("trouble", store.problem, flush=True)
    await store.close()
    store = SqliteStore(path)
    await store.open(lambda *_: None)
    left = await store.claim_due("lane", 1.0, 1_000_000, 1 << 40)
    expected = [*kept[len(fetched.events) :], "after"]
    print("same" if [one.request_id for one in left.events] == expected else "different", len(kept), flush=True)
    await store.close()


if __name__ == "__main__":
    file, number = Path(sys.argv[2]), int(sys.argv[3])
    asyncio.run(fill(file, number) if sys.argv[1] == "fill" else put_until_killed(file, number))
