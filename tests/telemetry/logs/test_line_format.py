"""A record is one line, whatever it contains, and its time is that of RFC 3339."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.telemetry.logs.line_format import (
    AccessFormatter,
    JsonFormatter,
    TextFormatter,
    Timestamps,
    encode_line,
)

ANY_TEXT = st.text(st.characters(), max_size=40)  # surrogates and controls among them
BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def record(message: str, *arguments: object, error: BaseException | None = None, **fields: Any) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("invoke_gateway", logging.WARNING, "file.py", 7, message, arguments, trace)
    made.created = 1_764_426_450.1239
    if fields:
        made.fields = fields
    return made


def raised() -> BaseException:
    try:
        raise ValueError("first\nsecond é \udc80")
    except ValueError as error:
        return error


def test_a_record_of_json_has_the_same_keys_always() -> None:
    line = json.loads(JsonFormatter().format(record("taken: %d", 3)))
    assert line == {
        "time": "2025-11-29T14:27:30.123Z",
        "level": "warning",
        "logger": "invoke_gateway",
        "message": "taken: 3",
    }


def test_a_worker_and_fields_are_keys_and_no_field_replaces_a_key() -> None:
    line = json.loads(JsonFormatter(2).format(record("x", kind="drain", in_flight=3, level="mine", worker=9)))
    assert (line["kind"], line["in_flight"], line["level"], line["worker"]) == ("drain", 3, "warning", 2)


def test_an_exception_is_one_line_of_json_with_its_whole_trace() -> None:
    text = JsonFormatter().format(record("failed", error=raised()))
    assert len(text.splitlines()) == 1
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n  File ")
    assert exception.endswith("ValueError: first\nsecond é \\x80")


def test_a_field_that_json_has_no_type_for_is_text() -> None:
    assert json.loads(encode_line({"a": float("nan"), "b": {1, 2} and object, "c": b"\xff"}))["a"] is None
    assert json.loads(encode_line({"path": sys}))["path"].startswith("<module 'sys'")


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_one_line_of_utf_8_that_a_strict_parser_reads(message: str, value: str) -> None:
    text = JsonFormatter().format(record("%s", message, value=value))
    assert not set(text) & set("\n\r\x0b\x0c\x1c\x1d\x1e")
    parsed = json.loads(text.encode("utf-8"))  # strict: no surrogate may be left
    json.dumps(parsed, ensure_ascii=False).encode()
    if message.isascii():
        assert parsed["message"] == message


def test_a_record_of_text_has_a_time_with_zone_its_level_and_worker() -> None:
    text = TextFormatter(1).format(record("100 %% of %s", "café"))
    assert text == "2025-11-29T14:27:30.123Z WARNING worker 1: 100 % of café"
    assert datetime.fromisoformat(text.split()[0]).tzinfo is not None


def test_a_record_of_a_library_has_its_logger() -> None:
    made = record("slow callback")
    made.name = "asyncio"
    assert TextFormatter(1).format(made) == "2025-11-29T14:27:30.123Z WARNING worker 1: asyncio: slow callback"


@given(ANY_TEXT)
def test_no_text_passes_for_a_record_of_its_own(value: str) -> None:
    first, *others = TextFormatter().format(record("%s", value)).split("\n")
    assert first.startswith("2025-11-29T14:27:30.123Z WARNING ")
    assert all(line.startswith("    ") for line in others)
    assert not any(set(line) & set(BREAKS) for line in (first, *others))


def test_a_trace_in_text_is_indented() -> None:
    lines = TextFormatter().format(record("failed", error=raised())).splitlines()
    assert lines[0].endswith("WARNING failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-2:] == ["    ValueError: first", "    second é \udc80"]


def test_lines_of_the_access_log_are_as_they_are_and_others_are_objects() -> None:
    formatter = AccessFormatter("access", 1)
    line = logging.LogRecord("access", logging.INFO, "", 0, '{"status":200}', None, None)
    assert formatter.format(line) == '{"status":200}'
    assert json.loads(formatter.format(record("lines were dropped")))["message"] == "lines were dropped"


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1.9999, 2.0, 1_764_426_450.0, 1_764_426_450.9999, 4e9])
def test_times_are_those_of_rfc_3339(seconds: float) -> None:
    times = Timestamps()
    for at in (seconds, seconds + 0.001, seconds):  # the text of a second is kept, and is not used for another
        parsed = datetime.fromisoformat(times.write(at))
        assert 0 <= at - parsed.timestamp() < 0.00101
