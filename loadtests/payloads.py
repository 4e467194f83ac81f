"""Sends payloads exactly at each quota, which are admitted, and one byte above it, which are refused.

    locust -f loadtests/payloads.py --streamed-response-quota 209715200

A request above its quota gets a 413. A response above its quota is a 200 with a function error. A streamed one is cut.
"""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser

from loadtests.load.judging import UNEXPECTED, Answer, Verdict, show
from loadtests.load.streaming import plan_stream
from loadtests.load.users import RoundsUser
from loadtests.load.wire import Wire

CODES = {"modelled": "RequestTooLargeException", "as_observed": "RequestEntityTooLargeException"}
STREAM_PATH = "/2021-11-15/functions/{}/response-streaming-invocations"
PIECE = 65_536


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("Payloads")
    group.add_argument("--echo", default="echo", help="A function that returns its event.")
    group.add_argument("--blob", default="blob", help='One that returns as many bytes as its event {"bytes": n} says.')
    group.add_argument("--stream", default="stream", help='One that streams what {"chunks": c, "bytes": b} says.')
    group.add_argument("--request-quota", type=int, default=6_291_456, help="Bytes of a request.")
    group.add_argument("--event-quota", type=int, default=1_048_576, help="Bytes of an Event's request.")
    group.add_argument("--response-quota", type=int, default=6_291_556, help="Bytes of a response.")
    group.add_argument("--streamed-response-quota", type=int, default=209_715_200, help="Bytes of a streamed response.")
    group.add_argument("--payload-error", choices=CODES, default="modelled", help="The code that a 413 has.")
    group.add_argument("--rounds", type=int, default=3, help="How often all is tried.")


def text_of(size: int) -> bytes:
    """Returns a JSON text of exactly `size` bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


def is_as_long(size: int) -> Callable[[Answer], str | None]:
    return lambda answer: None if len(answer.body) == size else f"{len(answer.body)} bytes where {size} should be"


def is_nothing(answer: Answer) -> str | None:
    return f"a body where none should be: {show(answer.body)}" if answer.body else None


class PayloadUser(RoundsUser):
    network_timeout = 120.0

    def do_round(self) -> None:
        options = self.options
        self.send_request("request", options.request_quota)
        self.send_request("event", options.event_quota, type_="Event")
        self.ask_for_response(options.response_quota)
        self.ask_for_stream(options.streamed_response_quota)

    def send_request(self, what: str, quota: int, type_: str = "RequestResponse") -> None:
        name, is_event = self.options.echo, type_ == "Event"
        headers = {"X-Amz-Invocation-Type": type_}
        at = self.expecting(throttled=False, status=202 if is_event else 200)
        check = is_nothing if is_event else is_as_long(quota)
        row = f"{what} at {quota}"
        self.invoke(name, text_of(quota), expected=at, headers=headers, row=row, find_problem=check)
        above = self.expecting(admitted=False, throttled=False, error=(413, CODES[self.options.payload_error]))
        row = f"{what} above {quota}: 413"
        self.invoke(
            name,
            text_of(quota + 1),
            expected=above,
            headers=headers,
            row=row,
            find_problem=lambda answer: names(answer, quota),
        )

    def ask_for_response(self, quota: int) -> None:
        name = self.options.blob
        at = self.expecting(throttled=False)
        row = f"response at {quota}"
        self.invoke(name, b'{"bytes": %d}' % quota, expected=at, row=row, find_problem=is_as_long(quota))
        above = self.expecting(throttled=False, function_error=True)
        row = f"response above {quota}: 200 function error"
        self.invoke(name, b'{"bytes": %d}' % (quota + 1), expected=above, row=row, find_problem=is_too_large_error)

    def ask_for_stream(self, quota: int) -> None:
        self.stream(quota, f"streamed at {quota}", "200", lambda size, cut: size == quota and not cut)
        self.stream(quota + 1, f"streamed above {quota}: cut", "200 cut", lambda size, cut: size <= quota and cut)

    def stream(self, size: int, row: str, what: str, is_right: Callable[[int, bool], bool]) -> None:
        name = self.options.stream
        chunks, each = plan_stream(size)
        event = json.dumps({"chunks": chunks, "bytes": each}).encode()
        began = time.perf_counter()
        with Wire(self.host or "") as wire:
            wire.begin(STREAM_PATH.format(name), len(event))
            wire.send(event)
            answer, received, cut = read_all(wire)
        problem = None
        if answer.status != 200 or not is_right(received, cut):
            problem = f"status {answer.status}, {received} bytes of {size}, {'cut' if cut else 'not cut'}"
        self.report(Verdict(row, UNEXPECTED if problem else "admitted", what, problem), name, began, received)


def read_all(wire: Wire) -> tuple[Answer, int, bool]:
    """Returns the head of the response, the number of bytes of its body, and True if it was cut."""
    answer, received = wire.head(), 0
    try:
        while piece := wire.read(PIECE):
            received += len(piece)
    except http.client.IncompleteRead as error:
        return answer, received + len(error.partial), True
    except (OSError, http.client.HTTPException):
        return answer, received, True
    return answer, received, False


def names(answer: Answer, limit: int) -> str | None:
    message = json.loads(answer.body)["message"]
    return None if str(limit) in message else f"the message does not name the limit {limit}: {message}"


def is_too_large_error(answer: Answer) -> str | None:
    error: dict[str, Any] = json.loads(answer.body)
    is_right = error.get("errorType") == "Function.ResponseSizeTooLarge"
    return None if is_right else f"another function error than Function.ResponseSizeTooLarge: {show(answer.body)}"
