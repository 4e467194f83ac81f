"""Counts the bytecode instructions that a call executes in the gateway, and the functions that it calls.

The counts depend on the version of Python and on nothing of the machine. A call's count is all that the main thread
does from the first byte of a request to that of the next. The smallest is the count of a call: in others a timer runs
besides, on a busy machine in nearly all.
"""

import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from invoke_gateway.listener import InvokeProtocol
from loadtests.bench.counted.driven import drive

CALLS = 61
WARM_UP = 10


class Work(NamedTuple):
    """Holds what one call executes: bytecode instructions, and calls of functions written in Python and in C."""

    instructions: int
    calls: int


class Tracer:
    """Counts in the thread that enters it.

    works: what was counted between the beginnings of one request and the next
    by_function: the instructions of each function, over all requests
    """

    def __init__(self, first: CodeType = InvokeProtocol.data_received.__code__) -> None:
        self.works: list[Work] = []
        self.by_function: Counter[CodeType] = Counter()
        self._first = first
        self._instructions = 0
        self._calls = 0

    def __enter__(self) -> None:
        sys.settrace(self._on_call)
        sys.setprofile(self._on_profile)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.setprofile(None)
        sys.settrace(None)

    def _on_call(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if frame.f_code is self._first:
            self.works.append(Work(self._instructions, self._calls))
            self._instructions = self._calls = 0
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._on_instruction

    def _on_instruction(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "opcode":
            self._instructions += 1
            self.by_function[frame.f_code] += 1
        return self._on_instruction

    def _on_profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self._calls += 1


def count_work(path: str, tracer: Tracer | None = None) -> Work:
    """Returns the work of a call of `path`."""
    tracer = tracer or Tracer()
    drive(path, CALLS, tracer)
    works = tracer.works[WARM_UP:]
    return min(works)
