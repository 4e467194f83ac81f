"""Three gateways, processes of their own, on one queue, while one is killed, one stands still for longer than its lease
and the server is restarted: every event whose put returned is run, and few of them twice."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.redis.store import StreamStore
from tests.support import forking
from tests.support.event_places import LANE, StreamPlace, hear_nothing, make_event
from tests.support.processes import bare_environment
from tests.support.stores import KINDS, running_store

LEASE = 1.0  # seconds
EVENTS = 1500
BATCH = 16  # events that a gateway claims together
CHILD = [sys.executable, "-m", "tests.queue.redis.working_gateway"]


class Gateway:
    def __init__(self, place: StreamPlace, path: Path) -> None:
        arguments = [place.server.url, place.base.strip("{}"), str(LEASE), LANE, str(path)]
        environment = bare_environment(path.parent)
        self.process = forking.Popen(
            [*CHILD, *arguments], stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[3]
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", KINDS)
async def test_no_event_that_was_kept_is_lost_and_few_run_twice(kind: str, seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    path = tmp_path / "runs"
    with ExitStack() as stack:
        server = stack.enter_context(running_store(kind, "--appendonly", "yes", "--appendfsync", "always"))
        place = StreamPlace(server, "siege")
        gateways = [Gateway(place, path) for _ in range(3)]
        for gateway in gateways:
            stack.callback(gateway.close)
        store = place.make(lease_seconds=LEASE, timeout_seconds=1)
        await store.open(hear_nothing)
        kept: dict[str, bytes] = {}
        putting = asyncio.create_task(put_all(store, kept, dice))
        await asyncio.sleep(0.1 + dice.random() / 2)
        gateways[0].send(signal.SIGKILL)
        gateways[1].send(signal.SIGSTOP)
        await asyncio.sleep(dice.random() / 2)
        server.kill()
        server.start()
        replacement = await asyncio.to_thread(Gateway, place, path)
        stack.callback(replacement.close)
        await asyncio.sleep(2 * LEASE + 0.5)
        gateways[1].send(signal.SIGCONT)
        told_errors = await putting
        ends_at = time.monotonic() + 240
        while (left := await ask_left(store)) and time.monotonic() < ends_at:  # noqa: ASYNC110 (others do it)
            await asyncio.sleep(0.1)
        assert left == 0
        await asyncio.sleep(0.2)
        runs = Counter(path.read_text().split("\n")[:-1])
        ran = {line.partition(" ")[0] for line in runs}
        assert set(kept) <= ran
        for name, body in kept.items():
            if body == b"fails once":
                assert runs[f"{name} 1"] >= 1, f"{name} was not tried again"
        # Those that the killed and the paused gateway had claimed, each with one more on its way to the store; and what
        # the server had claimed for somebody without being able to say so.
        twice = sum(times - 1 for times in runs.values())
        assert twice <= 5 * BATCH
        assert len(ran - set(kept)) <= told_errors
        await store.close()
        place.check()


async def put_all(store: StreamStore, kept: dict[str, bytes], dice: random.Random) -> int:
    """How many puts failed: their events may have been kept all the same."""
    errors = 0

    async def put(numbers: range) -> None:
        nonlocal errors
        for number in numbers:
            body = b"fails once" if dice.random() < 0.1 else b"runs"
            name = str(number)
            try:
                await store.enqueue(make_event(name, body=body, due_at=time.time(), received_at=time.time()))
                kept[name] = body
            except StoreError:
                errors += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(put(range(first, EVENTS, 16)) for first in range(16)))
    return errors


async def ask_left(store: StreamStore) -> int:
    """How many events are in the store, claimed or not."""
    try:
        return len(await store.oldest(LANE, 100_000))
    except StoreError:
        return -1
