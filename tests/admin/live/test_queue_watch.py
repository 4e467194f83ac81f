"""The queue is described once a read, with a bounded number of functions, and a store that fails is shown."""

from __future__ import annotations

from math import inf

from invoke_gateway.admin.live.queue_watch import MOST_FUNCTIONS, QueueWatch
from invoke_gateway.admin.queue import QueueState
from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.depths import Depth, Depths


class Queue:
    """A queue whose state a test sets."""

    store = "events.db"

    def __init__(self) -> None:
        self.depths: Depths = {}
        self.trouble: str | None = None
        self.fails = False

    def now(self) -> float:
        return 1000.0

    async def read_state(self) -> QueueState:
        if self.fails:
            raise StoreError("unavailable", "The disk is gone.")
        return QueueState(self.depths, self.trouble, [])


def watch(queue: Queue) -> QueueWatch:
    return QueueWatch(queue, pause_seconds=0)  # type: ignore[arg-type]  # it reads only


async def test_the_busiest_functions_are_described_with_whole_seconds() -> None:
    queue = Queue()
    for number in range(MOST_FUNCTIONS + 5):
        queue.depths["000000000000", f"f{number:02}"] = Depth(waiting=number + 1, received_at=990.4, due_at=inf)
    watched = watch(queue)
    assert watched.document is None
    await watched.read()
    document = watched.document
    assert document is not None
    assert (document["waiting"], document["oldest_seconds"], document["left_out"]) == (120, 9, 5)
    functions = document["functions"]
    assert isinstance(functions, list)
    assert [row["function"] for row in functions[:2]] == ["f14", "f13"]
    assert (functions[0]["oldest_seconds"], functions[0]["next_due_seconds"]) == (9, None)


async def test_a_store_that_fails_leaves_the_last_numbers_and_its_reason() -> None:
    queue = Queue()
    queue.depths["000000000000", "a"] = Depth(waiting=3, received_at=999.0)
    watched = watch(queue)
    await watched.read()
    queue.fails = True
    await watched.read()
    document = watched.document
    assert document is not None
    assert document["waiting"] == 3
    assert "The disk is gone." in str(document["trouble"])
