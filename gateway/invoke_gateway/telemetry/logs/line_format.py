"""Formats log records as lines of text or as JSON objects, with times by RFC 3339 in UTC.

A record is one line of JSON, whatever it contains. As text, its further lines, such as those of a traceback, are
indented, so that no value can pass for a record of its own.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...policy.os_text import printable, printable_document

FIELDS = "fields"
"""Names the attribute of a record that has the values of its line by key: `extra={"fields": {…}}`."""

_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_INDENT = "\n    "
_OURS = "invoke_gateway"  # the loggers of this package


class Timestamps:
    """Writes times, and keeps the text of the latest second: a busy log has thousands of lines in one."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def write(self, seconds: float) -> str:
        """Returns a time of the epoch as `2026-01-31T23:59:59.999Z`."""
        milliseconds = int(seconds * 1000)
        second = milliseconds // 1000
        text = self._text
        if second != self._second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second, self._text = second, text
        return f"{text}.{milliseconds % 1000:03d}Z"


class TextFormatter(logging.Formatter):
    """Formats a record as its time, level, worker and message. A record of a library has its logger before the
    message."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._times = Timestamps()
        self._prefix = "" if worker is None else f"worker {worker}: "

    def format(self, record: logging.LogRecord) -> str:
        parts = [record.getMessage(), *_describe_trace(self, record)]
        text = "\n".join(parts)
        if not text.isprintable():
            text = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text).replace("\n", _INDENT)
        library = "" if record.name.startswith(_OURS) else f"{record.name}: "
        return f"{self._times.write(record.created)} {record.levelname} {self._prefix}{library}{text}"


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._times = Timestamps()
        self._common: dict[str, Any] = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self._times.write(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._common,
        }
        if trace := _describe_trace(self, record):
            line["exception"] = "\n".join(trace)
        if fields := getattr(record, FIELDS, None):
            line |= {key: value for key, value in fields.items() if key not in line}
        return encode_line(line)


class AccessFormatter(JsonFormatter):
    """Formats a record of the access log, whose message is an object. Lines about the log itself are objects too."""

    def __init__(self, logger: str, worker: int | None = None) -> None:
        super().__init__(worker)
        self._logger = logger

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == self._logger else super().format(record)


def encode_line(line: dict[str, Any]) -> str:
    """Returns an object as JSON on one line. Surrogates, which UTF-8 cannot hold, are escaped as text."""
    try:
        return msgspec.json.encode(line, enc_hook=_encode_unknown).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(printable_document(line), enc_hook=_encode_unknown).decode()


def _encode_unknown(value: object) -> str:
    return printable(str(value))


def _describe_trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return parts
