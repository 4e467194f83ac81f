"""Serves the Invoke API in one worker process, and handles its supervisor's calls.

The worker ends, after its calls have, at the supervisor's request, at SIGTERM, and when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import signal
import socket
import sys
from typing import Any, NamedTuple, cast

import msgspec

from ..admin.live.last_minute import encode_activity
from ..app.gateway import Gateway
from ..asgi import App, Message, Scope
from ..queue.base import StoreError
from ..server.allocator import keep_freed_memory
from ..server.process import (
    ServingGateway,
    freeze_garbage,
    handle_signals,
    new_event_loop,
    open_gateway,
    serve_invoke,
)
from ..server.sockets import CannotListen, Listeners
from ..settings import Settings
from ..telemetry.logs.log import CannotOpenLog, LogOptions, count_dropped_lines, set_up_logging
from .channel import Channel, serve_calls
from .in_flight import report_holders
from .queue import QUEUE_CALLS, report_depths
from .snapshots import describe_process, describe_snapshot, describe_totals

log = logging.getLogger("invoke_gateway")


_COMPLETE_SECONDS = 5.0


class Start(NamedTuple):
    """Carries the settings of a worker. A supervisor sends it to its own child, so it may be pickled."""

    settings: Settings
    backend_url: str
    name: str


class Worker:
    """Runs one worker. Each `on_…` handles a call of the supervisor."""

    def __init__(self, listeners: Listeners) -> None:
        loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._start: asyncio.Future[Start | None] = loop.create_future()
        self._serving: asyncio.Future[ServingGateway] = loop.create_future()
        self._final_totals: asyncio.Future[list[bytes]] = loop.create_future()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serves from the supervisor's `start` call until the end."""
        start = await self._start
        if start is None:
            return
        try:
            await self._serve(start)
        except Exception as error:  # the supervisor logs it
            if self._serving.done():
                raise
            self._serving.set_exception(error)

    async def _serve(self, start: Start) -> None:
        async with open_gateway(start.settings, start.backend_url, start.name) as gateway:
            gateway.backend.is_logged = False  # the supervisor logs it, once for all workers
            if gateway.shared is not None and start.settings.shared.expected_gateways is not None:
                await gateway.shared.wait_complete(_COMPLETE_SECONDS)  # the other workers start at the same time
            async with serve_invoke(gateway, self._listeners) as serving:
                self._admin = cast("App", gateway.admin.make_app(self._listeners.addresses[0]).app)
                freeze_garbage()
                keep_freed_memory()
                self._serving.set_result(serving)
                await self._stop.wait()
            gateway.admin.live_stream.close()
        gateway.totals.log_lines_dropped = count_dropped_lines()
        self._final_totals.set_result(await describe_totals(gateway.totals, gateway.events.totals))
        await asyncio.sleep(0)  # the final totals are sent before the channel is closed

    def note_channel_end(self, serving: asyncio.Task[None]) -> None:
        """Ends the worker, because the supervisor is gone or the channel has failed."""
        if serving.cancelled() or serving.exception() is not None:
            error = None if serving.cancelled() else serving.exception()
            log.error("the channel to the supervisor has failed, and this worker ends", exc_info=error)
        self.stop()

    def stop(self) -> None:
        """Stops admitting, finishes the admitted calls, then ends."""
        if not self._start.done():
            self._start.set_result(None)
        self._stop.set()

    async def handle(self, method: str, argument: Any) -> Any:
        return await getattr(self, f"on_{method}")(argument)

    @property
    def _gateway(self) -> Gateway:
        return self._serving.result().gateway

    async def on_start(self, pickled: bytes) -> str | None:
        """Serves. Returns None once the worker serves, or the reason why it cannot."""
        self._start.set_result(pickle.loads(pickled))
        try:
            await asyncio.shield(self._serving)
        except CannotListen as error:
            return str(error)
        return None

    async def on_final_totals(self, _: None) -> list[bytes]:
        """Returns the final totals, at the worker's end."""
        return await asyncio.shield(self._final_totals)

    async def on_stop(self, _: None) -> None:
        self.stop()

    async def on_cut_short(self, _: None) -> None:
        """Stops without waiting for running calls."""
        self._serving.result().cut_short()
        self.stop()

    async def on_snapshot(self, _: None) -> dict[str, Any]:
        return describe_snapshot(self._gateway)

    async def on_totals(self, _: None) -> tuple[list[bytes], dict[str, Any]]:
        gateway = self._gateway
        gateway.totals.log_lines_dropped = count_dropped_lines()
        return await describe_totals(gateway.totals, gateway.events.totals), await describe_process()

    async def on_activity(self, _: None) -> Any:
        """Returns the last minute of the functions that were called."""
        return await encode_activity(self._gateway.admin.last_minute)

    async def on_sums(self, _: None) -> tuple[dict[str, int], dict[str, object]]:
        """Reads the slots of all gateways from the store, and describe the store."""
        shared = self._gateway.shared
        assert shared is not None, "workers share counters"
        await shared.read_sums()
        return dict(shared.sums), shared.describe()

    async def on_queue(self, call: tuple[str, Any]) -> tuple[tuple[str, str] | None, Any]:
        """Carries out a call on the queue of events. Returns the store's failure, or None; and the result."""
        what, argument = call
        queue = self._gateway.events.local_queue
        assert queue is not None, "the supervisor calls this only where there is a queue"
        try:
            if what == "depths":
                return None, await report_depths(self._gateway, *argument)
            return None, await QUEUE_CALLS[what](queue, argument)
        except StoreError as fault:
            return (fault.kind, str(fault)), None

    async def on_holders(self, argument: tuple[list[Any], bool]) -> tuple[list[dict[str, Any]], str | None]:
        """Reports the calls that hold slots here, and on request those of all gateways."""
        return await report_holders(self._gateway, argument)

    async def on_adopt(self, pickled: bytes) -> None:
        """Puts new limits in force."""
        await self._gateway.adopt(pickle.loads(pickled))

    async def on_release_slots(self, name: str) -> None:
        """Releases the slots of a dead worker."""
        shared = self._gateway.shared
        assert shared is not None, "workers share counters"
        await shared.store_admin.release_gateway(((name, account) for account in shared.accounts), force=True)

    async def on_control(self, _: None) -> bytes:
        """Returns what Lambda's control operations have set, and what the backend has."""
        return msgspec.msgpack.encode(self._gateway.control_states)

    async def on_backend(self, _: None) -> str | None:
        """Returns None where the backend can be reached; else the reason."""
        await self._gateway.backend_watch.check()
        return self._gateway.backend.why

    async def on_request(
        self, request: tuple[str, str, str, list[tuple[bytes, bytes]], bytes]
    ) -> tuple[int, Any, bytes]:
        """Carries out a request to the admin listener, and returns the response: status, headers, body."""
        method, path, query, headers, body = request
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(bytes(name), bytes(value)) for name, value in headers],
        }
        status: int = 500
        given: list[tuple[bytes, bytes]] = []
        pieces: list[bytes] = []

        messages: list[Message] = [{"type": "http.request", "body": body}]
        forever = asyncio.get_running_loop().create_future()

        async def receive() -> Message:
            return messages.pop() if messages else await forever

        async def send(message: Message) -> None:
            nonlocal status, given
            if message["type"] == "http.response.start":
                status, given = message["status"], message["headers"]
            else:
                pieces.append(message.get("body", b""))

        await self._admin(scope, receive, send)
        return status, given, b"".join(pieces)


async def work(end: socket.socket, listeners: Listeners) -> None:
    """Runs a worker for the supervisor at the other end of the socket pair."""
    channel = await Channel.open(end)
    worker = Worker(listeners)
    handle_signals(asyncio.get_running_loop(), worker.stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)  # handled by the supervisor
    serving = asyncio.create_task(serve_calls(channel, worker.handle), name="calls of the supervisor")
    serving.add_done_callback(worker.note_channel_end)
    try:
        await worker.run()
        await asyncio.sleep(0)  # the last replies are sent
    finally:
        await channel.close()
        await asyncio.wait([serving])


def main() -> None:
    """Runs a worker: `… CHANNEL LISTENERS LOG` are file descriptors, and the options of its log."""
    gc.freeze()  # what modules made is no garbage: the collection before the first call need not go through it
    channel, listeners, options = sys.argv[1:4]
    sockets = [socket.socket(fileno=int(one)) for one in listeners.split(",")]
    try:
        set_up_logging(LogOptions(*json.loads(options)))
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(work(socket.socket(fileno=int(channel)), Listeners(sockets)))
    except CannotOpenLog as error:
        log.error("%s", error)
        sys.exit(1)
    except (Exception, asyncio.CancelledError):  # a mistake of ours
        log.critical("this worker has failed, and ends", exc_info=True)
        sys.exit(1)
