"""Writes log lines, and one line per request on demand. No line has a payload or a credential."""

from __future__ import annotations

import logging
import sys
import threading
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ...asgi import ATTEMPT, INJECTED, Attempt, Scope
from ...exchange import MOST_SHOWN, Exchange
from ...invocation import InvocationType
from ...policy.os_text import printable
from ...policy.requests.caller import find_claimed_id
from .access_file import LogFile, is_same_file
from .line_format import AccessFormatter, JsonFormatter, TextFormatter, Timestamps, encode_line
from .line_writer import LineHandler, LineWriter
from .write_turn import WriteTurn, needs_turns

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

log = logging.getLogger("invoke_gateway")
access = logging.getLogger("invoke_gateway.access")


class LogOptions(NamedTuple):
    """Carries the settings of one process's log; they may be sent to a worker as JSON.

    format: text or json
    level: the lowest level that is logged
    access_log: the file of the access log; `-`: standard output; None: no access log
    worker: the number of the worker that this process is; None: it is no worker
    lock_file: the file whose locks give the processes of a gateway their turns; None: there is one process
    """

    format: str = "text"
    level: str = "info"
    access_log: str | None = None
    worker: int | None = None
    lock_file: int | None = None


class CannotOpenLog(Exception):
    """Reports that the access log cannot be opened."""


class _ProcessLog:
    """Holds the log of this process, which has one.

    common: the keys that each line of the access log has
    """

    def __init__(self) -> None:
        self.options = LogOptions()
        self.writers: list[LineWriter] = []
        self.common: dict[str, Any] = {}
        self.times = Timestamps()


_process_log = _ProcessLog()


def set_up_logging(options: LogOptions = _process_log.options) -> None:
    """Sends the log to standard error, and lines of `invoke_gateway.access` to the access log. Raises `CannotOpenLog`.

    Every other line of this process goes the same way: warnings, messages of libraries, unhandled errors.
    """
    _process_log.options = options
    _process_log.common = {} if options.worker is None else {"worker": options.worker}
    is_json = options.format == "json"
    encoding = "utf-8" if is_json else getattr(sys.stderr, "encoding", None) or "utf-8"
    formatter = JsonFormatter(options.worker) if is_json else TextFormatter(options.worker)
    file = _find_file(sys.stderr, 2)
    handler = LineHandler(formatter, encoding, file, turn=_make_turn(options, file, 0))
    _process_log.writers.append(handler.writer)
    _install(handler, options.level)
    if options.access_log is not None:
        _install_access_log(options, options.access_log, handler.writer)


def _install(handler: LineHandler, level: str) -> None:
    access.addHandler(logging.NullHandler())  # else logging itself would print lines that nothing handles
    access.setLevel(logging.INFO)
    access.propagate = False
    log.addHandler(handler)
    log.setLevel(level.upper())
    log.propagate = False
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel({"debug": logging.DEBUG, "error": logging.ERROR}.get(level, logging.WARNING))
    logging.getLogger("watchfiles").setLevel(logging.INFO)  # it has a line for each second without a change
    logging.captureWarnings(True)
    if level != "debug":  # the gateway logs in its own shape what uvicorn reports per connection or request
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_end


def _install_access_log(options: LogOptions, path: str, log_writer: LineWriter) -> None:
    log_file = None
    try:
        log_file = LogFile(path) if path != "-" else None
    except OSError as error:
        raise CannotOpenLog(
            f"access_log: the file {printable(path)} cannot be opened: {error.strerror}. "
            "Give a file that the gateway may write, or - for standard output"
        ) from error
    file = log_file.file if log_file is not None else _find_file(sys.stdout, 1)
    formatter = AccessFormatter(access.name, options.worker)
    if is_same_file(file, log_writer.file):  # one thread for both, so that no line is within another
        access.addHandler(LineHandler(formatter, "utf-8", writer=log_writer))
        return
    turn = _make_turn(options, file, 1)
    handler = LineHandler(formatter, "utf-8", file, log_file=log_file, turn=turn)
    _process_log.writers.append(handler.writer)
    access.addHandler(handler)


def _make_turn(options: LogOptions, file: int, place: int) -> WriteTurn | None:
    if options.lock_file is None or not needs_turns(file):
        return None
    return WriteTurn(options.lock_file, place, file)


def options_of_worker(number: int) -> LogOptions:
    """Returns the options of a worker's log, whose lines go where those of this process go."""
    return _process_log.options._replace(worker=number)


def reopen_access_log() -> bool:
    """Opens the access log again if its file was moved. Returns False if it is no file."""
    reopened = [writer.reopen() for writer in _process_log.writers]  # all of them
    return any(reopened)


def count_dropped_lines() -> int:
    """Returns the number of dropped lines of this process's log."""
    return sum(writer.dropped for writer in _process_log.writers)


def _find_file(stream: TextIO, usual: int) -> int:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):  # it is no file
        return usual


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the process ends with an unhandled error", exc_info=(kind, error, trace))


def _log_unraisable(unraisable: UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    log.error("%s: %r", unraisable.err_msg or "an error was ignored in", unraisable.object, exc_info=error)


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread is not None else "?"
    log.error("the thread %s has failed", name, exc_info=ended.exc_value)


def write_access_line(exchange: Exchange, scope: Scope, *, names_callers: bool = False) -> None:
    """Writes one JSON object: the client, the function and the outcome. Durations in seconds, size in bytes.

    names_callers: signatures are verified, so the line names the caller, or else the access key that is claimed
    """
    line: dict[str, Any] = {
        "time": _process_log.times.write(time()),
        "logger": access.name,
        **_process_log.common,
        "request_id": exchange.request_id,
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "status": exchange.status,
    }
    if names_callers:
        arn = line["caller"] = exchange.caller.arn
        if arn is None:
            claimed = find_claimed_id(exchange.headers.get(b"authorization"), scope["query_string"])
            line["claimed_access_key_id"] = claimed
    invocation = exchange.invocation
    if invocation is None:
        line["path"] = scope["path"]
    else:
        line["operation"] = invocation.operation
        line["function"] = invocation.function.name
        line["invocation_type"] = invocation.type
        if exchange.plan is not None:
            line["account"] = exchange.plan.account
    if (attempt := scope.get(ATTEMPT)) is not None:
        _name_event(line, attempt, exchange)
    if exchange.refusal is not None:
        line["error"] = exchange.refusal.code
        line["reason"] = exchange.refusal.reason
    has_failed_by_itself = exchange.refusal is not None and not exchange.refusal.is_injected
    decided = exchange.full if has_failed_by_itself else scope.get(INJECTED)
    line["decision"] = decided.describe() if decided is not None else None
    line["fault"] = exchange.error_kind
    line["function_error"] = exchange.function_error or None
    line["client_is_gone"] = exchange.client_is_gone or None
    line["backend_seconds"] = _round(exchange.backend_seconds)
    line["duration_seconds"] = _round(exchange.duration_seconds)
    access.info(encode_line({key: value for key, value in line.items() if value is not None}))


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _name_event(line: dict[str, Any], attempt: Attempt, exchange: Exchange) -> None:
    """Puts the event's id where a call has its own, and the backend's id of this run beside it."""
    if exchange.request_id != attempt.request_id:
        line["backend_request_id"] = exchange.request_id[:MOST_SHOWN]
    line |= {"request_id": attempt.request_id, "invocation_type": InvocationType.EVENT, "attempt": attempt.number}
