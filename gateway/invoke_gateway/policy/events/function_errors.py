"""Says which answers of a backend report an error of the function, and what the error is called.

Lambda answers 200 and sets `X-Amz-Function-Error`, whether the function raised, took too long or exited. So do
LocalStack, MiniStack, moto and `sam local start-lambda`. AWS's Runtime Interface Emulator (RIE) sets no header at all.
Its answers are 200 with the error object of the runtime, 200 with the text `Task timed out after 3.00 seconds`, and 502
with an error object where the runtime has exited or the function cannot be loaded. An entry point that does not start
is a 502 without a body. (cmd/aws-lambda-rie/handlers.go in its repository; observed with the binary of the live tests.)

The header, where it is there, decides in every mode. Without it:

- `header`: the answer reports no error.
- `body`: the body decides. A success whose result is an object with the texts `errorType` and `errorMessage` counts as
  an error, because nothing distinguishes the two.
- `auto`: the body decides only where the answer has none of the headers of Lambda's API. It is RIE's where its content
  type is not JSON (RIE leaves that to Go, which finds plain text), or where `backend.function_path` is set. An error
  object has only the members that runtimes write: a result with others is a result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..payloads.json_members import read_members, read_string

Reported = Literal["header", "body", "auto"]

UNNAMED = "Unhandled"
"""Names an error that came without a name; AWS is seen to write no other."""

# Headers that the API sets and RIE does not. Of an answer with one of them the body is the function's own.
_OF_THE_API = (b"x-amz-executed-version", b"x-amzn-errortype")

_TRACES = frozenset({b"stackTrace", b"trace", b"stack"})  # Python, Java, Ruby, .NET; Node; PHP
_OF_RUNTIMES = _TRACES | {b"errorType", b"errorMessage", b"requestId", b"cause", b"causes"}
_TIMED_OUT = re.compile(rb"(?:\S+ ){0,3}Task timed out after \d+(?:\.\d+)? seconds\s*")
_LONGEST_TIMED_OUT = 512


class FunctionError(NamedTuple):
    """Holds an error of a function; `payload` is its JSON text as Lambda writes it."""

    name: str
    payload: bytes


class FunctionErrors:
    """Finds the function errors that the backend reports. `has_function_path`: the backend has one function, as RIE."""

    def __init__(self, reported: Reported = "auto", *, has_function_path: bool = False) -> None:
        self._reported = reported
        self._has_function_path = has_function_path

    @property
    def reads_every_body(self) -> bool:
        """Returns whether the bodies of synchronous calls are read too. By default only the header is read."""
        return self._reported == "body" or (self._reported == "auto" and self._has_function_path)

    def find(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> FunctionError | None:
        """Returns the error that this answer reports; None where it reports none. Names of headers are lower-case.

        Statuses below 500 that are no success are never one: they are the API's own.
        """
        is_success = 200 <= status < 300
        if not is_success and status < 500:
            return None
        name = headers.get(b"x-amz-function-error")
        if name is not None:
            return FunctionError(name.decode("latin-1") or UNNAMED, body)
        if not self._reads_body(headers):
            return None
        if _is_error_object(body, is_strict=is_success and self._reported == "auto"):
            return FunctionError(UNNAMED, body)
        if is_success and len(body) <= _LONGEST_TIMED_OUT and _TIMED_OUT.fullmatch(body):
            return _make_error("Sandbox.Timedout", body.decode(errors="replace").strip())
        if status == 502 and not body and self.reads_every_body:
            return _make_error("Runtime.ExitError", "The runtime did not start or has exited; see the backend's log.")
        return None

    def _reads_body(self, headers: Mapping[bytes, bytes]) -> bool:
        if self._reported == "header" or b"x-amzn-errortype" in headers:
            return False
        if self._reported == "body":
            return True
        if any(name in headers for name in _OF_THE_API):
            return False
        return self._has_function_path or b"json" not in headers.get(b"content-type", b"").lower()

    def __repr__(self) -> str:
        return f"<FunctionErrors {self._reported}>"


def _is_error_object(body: bytes, *, is_strict: bool) -> bool:
    """Returns whether a body is an error of a runtime. `is_strict`: it has no member that runtimes do not write."""
    if b'"errorType"' not in body:  # nearly always: then nothing is parsed
        return False
    members = read_members(body)
    if members is None or read_string(members.get(b"errorType")) is None:
        return False
    message = members.get(b"errorMessage")
    # Java and .NET have errors without a text.
    has_message = read_string(message) is not None or (message in (None, b"null") and not _TRACES.isdisjoint(members))
    return has_message and (not is_strict or members.keys() <= _OF_RUNTIMES)


def _make_error(kind: str, text: str) -> FunctionError:
    return FunctionError(UNNAMED, json.dumps({"errorType": kind, "errorMessage": text}).encode())
