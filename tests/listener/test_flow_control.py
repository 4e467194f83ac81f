"""Writing waits while the transport's buffer is full, and only then."""

from __future__ import annotations

import asyncio

from invoke_gateway.listener.flow_control import FlowControl


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


async def test_all_that_wait_for_the_buffer_go_on_once_there_is_room() -> None:
    flow = FlowControl(Transport(), asyncio.get_running_loop())
    await flow.drain()
    flow.pause_writing()
    waiting = [asyncio.create_task(flow.drain()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    flow.resume_writing()
    await asyncio.gather(*waiting[1:])
    flow.resume_writing()
    await flow.drain()


async def test_who_waits_goes_on_waiting_when_the_buffer_is_full_again() -> None:
    flow = FlowControl(Transport(), asyncio.get_running_loop())
    flow.pause_writing()
    waiting = asyncio.create_task(flow.drain())
    await asyncio.sleep(0)
    flow.resume_writing()
    flow.pause_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    flow.resume_writing()
    await waiting


async def test_reading_is_paused_and_resumed_once() -> None:
    transport = Transport()
    flow = FlowControl(transport, asyncio.get_running_loop())
    flow.resume_reading()
    flow.pause_reading()
    flow.pause_reading()
    flow.resume_reading()
    flow.resume_reading()
    assert transport.calls == ["pause", "resume"]
