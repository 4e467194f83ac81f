"""The bound on an exchange ends what takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from invoke_gateway.counters.shared.deadline import Bound


async def test_what_takes_longer_ends_in_a_timeout_each_time() -> None:
    bound = Bound()
    for _ in range(3):
        with pytest.raises(TimeoutError), bound.within(0.01):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    bound.close()


async def test_a_short_bound_after_a_long_one_is_kept() -> None:
    bound = Bound()
    with bound.within(60):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError), bound.within(0.01):
            await asyncio.Event().wait()
    bound.close()


async def test_a_long_bound_after_a_short_one_is_not_cut() -> None:
    bound = Bound()
    with bound.within(0.01):
        await asyncio.sleep(0)
    with bound.within(60):
        await asyncio.sleep(0.03)  # the timer of the first one fires meanwhile
    bound.close()


async def test_being_cancelled_from_outside_stays_that() -> None:
    bound = Bound()

    async def wait() -> None:
        with bound.within(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bound.close()


async def test_being_cancelled_when_it_takes_too_long_stays_being_cancelled() -> None:
    bound = Bound()

    async def wait() -> None:
        with bound.within(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    bound._deadline = 0.0
    bound._look()
    with pytest.raises(asyncio.CancelledError):
        await task
    bound.close()


async def test_another_failure_stays_what_it_is() -> None:
    bound = Bound()
    with pytest.raises(ZeroDivisionError), bound.within(60):
        raise ZeroDivisionError
    assert bound._task is None
    bound.close()
