"""The supervisor and a worker talk over a socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from invoke_gateway.workers.channel import Channel, RpcClient, WorkerGone, serve_calls


@asynccontextmanager
async def conversation(
    answer: Callable[[str, Any], Awaitable[Any]],
) -> AsyncIterator[tuple[RpcClient, asyncio.Task[None]]]:
    """The supervisor's client, and the worker's task that serves it."""
    here, there = socket.socketpair()
    client, channel = RpcClient(await Channel.open(here)), await Channel.open(there)
    answering = asyncio.create_task(serve_calls(channel, answer))
    try:
        yield client, answering
    finally:
        await client.close()
        await answering
        await channel.close()


def test_each_question_gets_its_own_answer_though_the_first_takes_longest() -> None:
    async def answer(method: str, argument: Any) -> Any:
        await asyncio.sleep(argument)
        return method

    async def talk() -> list[Any]:
        async with conversation(answer) as (client, _):
            return await asyncio.gather(client.call("slow", 0.05), client.call("quick", 0))

    assert asyncio.run(talk()) == ["slow", "quick"]


def test_a_long_answer_arrives_whole() -> None:
    async def answer(method: str, argument: Any) -> Any:
        return argument * 1000

    async def talk() -> Any:
        async with conversation(answer) as (client, _):
            return await client.call("long", b"0123456789" * 1000)

    assert asyncio.run(talk()) == b"0123456789" * 1_000_000


def test_a_mistake_in_the_worker_is_told_and_does_not_end_the_conversation() -> None:
    async def answer(method: str, argument: Any) -> Any:
        if method == "bad":
            raise ValueError("no such thing")
        return "fine"

    async def talk() -> Any:
        async with conversation(answer) as (client, _):
            with pytest.raises(WorkerGone, match="ValueError: no such thing"):
                await client.call("bad")
            return await client.call("good")

    assert asyncio.run(talk()) == "fine"


def test_who_waits_for_an_answer_hears_at_once_that_the_worker_is_gone() -> None:
    async def talk() -> None:
        here, there = socket.socketpair()
        client = RpcClient(await Channel.open(here))
        waiting = asyncio.create_task(client.call("anything"))
        await asyncio.sleep(0)
        there.close()
        with pytest.raises(WorkerGone, match="ended"):
            await asyncio.wait_for(waiting, 60)
        with pytest.raises(WorkerGone, match="ended"):
            await client.call("another")
        await client.close()

    asyncio.run(talk())


def test_a_worker_that_does_not_answer_is_given_up_in_time_and_may_answer_the_next() -> None:
    silence = asyncio.Event()

    async def answer(method: str, argument: Any) -> Any:
        if method == "hang":
            await silence.wait()
        return method

    async def talk() -> Any:
        async with conversation(answer) as (client, _):
            with pytest.raises(WorkerGone, match=r"no reply to hang within 0\.05 s"):
                await client.call("hang", seconds=0.05)
            return await client.call("next", seconds=5)

    assert asyncio.run(talk()) == "next"


def test_a_worker_ends_its_answers_when_the_supervisor_is_gone() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(method: str, argument: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def talk() -> None:
        async with conversation(answer) as (client, answering):
            waiting = asyncio.create_task(client.call("forever"))
            await begun.wait()
            await client.close()
            await asyncio.wait_for(answering, 60)
            await asyncio.wait_for(ended.wait(), 60)
            with pytest.raises(WorkerGone):
                await waiting

    asyncio.run(talk())
