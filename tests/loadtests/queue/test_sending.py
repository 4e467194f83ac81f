"""What the load of `make bench-queue` sends, and what it takes for an accepted event."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from loadtests.bench import calls
from loadtests.bench.queue.client import send
from loadtests.bench.queue.sending import Caller, event, numbered, told

NO_BODY = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
THROTTLE = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"
SUCCESS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def sent_to(answer: Callable[[int], bytes], request: bytes, count: int, connections: int) -> tuple[dict, list]:
    """What the client tells of a server that gives `answer` to each body, the n-th; and the bodies that came."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                bodies.append(await reader.readexactly(length))
                text = answer(len(bodies))
                if not text:
                    return
                writer.write(text)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await send(port, request, count, connections), bodies


def test_an_event_is_an_invocation_with_one_header_more() -> None:
    request = event("echo", 9001)
    assert request.replace(b"X-Amz-Invocation-Type: Event\r\n", b"") == calls.invocation("echo", 9001)


def test_a_numbered_body_is_as_long_as_the_others_and_still_json() -> None:
    assert len(numbered()) == len(calls.ANSWER) == 1024
    assert json.loads(numbered())["number"] == "########"


async def test_exactly_so_many_are_sent_each_with_its_own_number() -> None:
    document, bodies = await sent_to(lambda n: NO_BODY, event("echo", 1, numbered()), 25, 4)
    assert sorted(int(json.loads(body)["number"]) for body in bodies) == list(range(1, 26))
    sent = told(json.loads(json.dumps(document)))
    assert (sent.accepted, sent.failed, sent.trouble) == (25, 0, "")


async def test_an_answer_other_than_202_is_no_accepted_event() -> None:
    document, _ = await sent_to(lambda n: (SUCCESS, THROTTLE, NO_BODY)[n % 3], event("echo", 1), 9, 1)
    sent = told(json.loads(json.dumps(document)))
    assert (sent.accepted, sent.failed) == (3, 6)
    assert sent.trouble == "3 answered 429, 3 answered 200"


async def test_a_request_without_an_answer_is_no_accepted_event() -> None:
    document, _ = await sent_to(lambda n: NO_BODY if n < 3 else b"", event("echo", 1), 9, 1)
    sent = told(json.loads(json.dumps(document)))
    assert (sent.accepted, sent.failed, sent.trouble) == (2, 1, "1 not answered")


@contextmanager
def answering(answers: list[bytes], done: threading.Event) -> Iterator[int]:
    """The port of a server that gives these answers on one connection, then says that it is done."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        listener.close()  # a second connection is refused
        with connection:
            for answer in answers:
                connection.recv(65536)
                connection.sendall(answer)
            connection.recv(65536)
            done.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield port
        thread.join()


def test_calls_that_somebody_waits_for_are_timed_on_one_connection() -> None:
    done = threading.Event()
    with answering([SUCCESS] * 5, done) as port:
        caller = Caller(port, calls.invocation("echo", port), pause_seconds=0)
        with caller:
            assert done.wait(60)
    assert len(caller.milliseconds) == 5
    assert all(one > 0 for one in caller.milliseconds)


def test_a_call_that_is_refused_or_cut_has_failed_and_has_no_time() -> None:
    done = threading.Event()
    with answering([SUCCESS, THROTTLE], done) as port:
        caller = Caller(port, calls.invocation("echo", port), pause_seconds=0.01)
        with caller:
            assert done.wait(60)
    assert len(caller.milliseconds) == 1
    assert caller.failed >= 1


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_a_percentile_is_one_of_the_times(percent: float, value: float) -> None:
    caller = Caller(1, b"")
    caller.milliseconds = [float(one) for one in range(100, 0, -1)]
    assert caller.percentile(percent) == value
