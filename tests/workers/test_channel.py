"""The supervisor and a worker talk over a socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from invoke_gateway.workers.channel import Asking, Channel, WorkerGone, answer_all


@asynccontextmanager
async def conversation(
    answer: Callable[[str, Any], Awaitable[Any]],
) -> AsyncIterator[tuple[Asking, asyncio.Task[None]]]:
    """A supervisor's side, and the task that answers it."""
    here, there = socket.socketpair()
    asking, channel = Asking(await Channel.open(here)), await Channel.open(there)
    answering = asyncio.create_task(answer_all(channel, answer))
    try:
        yield asking, answering
    finally:
        await asking.close()
        await answering
        await channel.close()


def test_each_question_gets_its_own_answer_though_the_first_takes_longest() -> None:
    async def answer(question: str, argument: Any) -> Any:
        await asyncio.sleep(argument)
        return question

    async def talk() -> list[Any]:
        async with conversation(answer) as (asking, _):
            return await asyncio.gather(asking.ask("slow", 0.05), asking.ask("quick", 0))

    assert asyncio.run(talk()) == ["slow", "quick"]


def test_a_long_answer_arrives_whole() -> None:
    async def answer(question: str, argument: Any) -> Any:
        return argument * 1000

    async def talk() -> Any:
        async with conversation(answer) as (asking, _):
            return await asking.ask("long", b"0123456789" * 1000)

    assert asyncio.run(talk()) == b"0123456789" * 1_000_000


def test_a_mistake_in_the_worker_is_told_and_does_not_end_the_conversation() -> None:
    async def answer(question: str, argument: Any) -> Any:
        if question == "bad":
            raise ValueError("no such thing")
        return "fine"

    async def talk() -> Any:
        async with conversation(answer) as (asking, _):
            with pytest.raises(WorkerGone, match="ValueError: no such thing"):
                await asking.ask("bad")
            return await asking.ask("good")

    assert asyncio.run(talk()) == "fine"


def test_who_waits_for_an_answer_hears_at_once_that_the_worker_is_gone() -> None:
    async def talk() -> None:
        here, there = socket.socketpair()
        asking = Asking(await Channel.open(here))
        waiting = asyncio.create_task(asking.ask("anything"))
        await asyncio.sleep(0)
        there.close()
        with pytest.raises(WorkerGone, match="ended"):
            await asyncio.wait_for(waiting, 60)
        with pytest.raises(WorkerGone, match="ended"):
            await asking.ask("another")
        await asking.close()

    asyncio.run(talk())


def test_a_worker_that_does_not_answer_is_given_up_in_time_and_may_answer_the_next() -> None:
    silence = asyncio.Event()

    async def answer(question: str, argument: Any) -> Any:
        if question == "hang":
            await silence.wait()
        return question

    async def talk() -> Any:
        async with conversation(answer) as (asking, _):
            with pytest.raises(WorkerGone, match=r"no answer to hang within 0\.05 s"):
                await asking.ask("hang", seconds=0.05)
            return await asking.ask("next", seconds=5)

    assert asyncio.run(talk()) == "next"


def test_a_worker_ends_its_answers_when_the_supervisor_is_gone() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(question: str, argument: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def talk() -> None:
        async with conversation(answer) as (asking, answering):
            waiting = asyncio.create_task(asking.ask("forever"))
            await begun.wait()
            await asking.close()
            await asyncio.wait_for(answering, 60)
            await asyncio.wait_for(ended.wait(), 60)
            with pytest.raises(WorkerGone):
                await waiting

    asyncio.run(talk())
