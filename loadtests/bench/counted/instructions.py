"""Counts the bytecode instructions that a call executes in the gateway, and the functions that it calls.

The counts depend on the version of Python and on nothing of the machine. A call's count is all that the main thread
does from the first byte of a request to that of the next. The smallest is the count of a call: in others a timer runs
besides, on a busy machine in nearly all.
"""

import sys
from collections import Counter
from threading import get_ident
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from invoke_gateway.listener import InvokeProtocol
from loadtests.bench.counted.driven import SHARED, drive

CALLS = 61
WARM_UP = 10
OFTEN = 3


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
        self._thread = 0
        self._instructions = 0
        self._calls = 0

    def __enter__(self) -> None:
        self._thread = get_ident()
        self._trace()
        sys.setprofile(self._on_profile)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.setprofile(None)
        self._stop_tracing()

    def _on_profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is self._first:
            self.works.append(Work(self._instructions, self._calls))
            self._instructions = self._calls = 0
        if event in ("call", "c_call"):
            self._calls += 1

    def _on_instruction(self, code: CodeType, offset: int) -> None:
        if get_ident() == self._thread:
            self._instructions += 1
            self.by_function[code] += 1

    # Before Python 3.12 there is only `settrace`, and Python 3.12 loses opcode events of `settrace`.
    if sys.version_info >= (3, 12):

        def _trace(self) -> None:
            events, tool = sys.monitoring.events.INSTRUCTION, sys.monitoring.DEBUGGER_ID
            sys.monitoring.use_tool_id(tool, "counted")
            sys.monitoring.register_callback(tool, events, self._on_instruction)
            sys.monitoring.set_events(tool, events)

        def _stop_tracing(self) -> None:
            sys.monitoring.set_events(sys.monitoring.DEBUGGER_ID, 0)
            sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)

    else:

        def _trace(self) -> None:
            sys.settrace(self._on_trace)

        def _stop_tracing(self) -> None:
            sys.settrace(None)

        def _on_trace(self, frame: FrameType, event: str, argument: object) -> Any:
            if event == "opcode":
                self._on_instruction(frame.f_code, frame.f_lasti)
            elif event == "call":
                frame.f_trace_lines = False
                frame.f_trace_opcodes = True
            return self._on_trace


def count_work(path: str, tracer: Tracer | None = None, **driven: Any) -> Work:
    """Returns the work of a call of `path`; for `driven` see `drive`."""
    tracer = tracer or Tracer()
    drive(path, CALLS, tracer, **driven)
    works = tracer.works[WARM_UP:]
    if path != SHARED:
        return min(works)
    # By chance one exchange with a store releases a slot and takes the next: that is not the usual call, and rare. The
    # usual ones differ, too: the client's next request may come before or after the end of a cycle of the loop.
    often = [work for work, times in Counter(works).items() if times >= OFTEN]
    return min(often or works)
