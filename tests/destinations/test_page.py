"""Compares docs/guides/async-targets.md with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from invoke_gateway.destinations.file import make_line
from invoke_gateway.destinations.http import make_request
from invoke_gateway.destinations.message import make_message
from invoke_gateway.destinations.stream import make_fields
from invoke_gateway.policy.events.destination_url import HttpTarget, parse_destination_url
from invoke_gateway.policy.events.event_rules import Kind
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.support.events import ended

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "async-targets.md").read_text()
KINDS: tuple[Kind, ...] = ("dead_letter_queue", "on_failure")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_samples_of_records_and_lines_are_the_bytes_that_are_written() -> None:
    record, lines = blocks("json")
    assert record.rstrip("\n").encode() == make_record(ended())
    assert lines.encode() == b"".join(make_line(make_message(kind, ended())) for kind in KINDS)


def test_the_samples_of_requests_are_the_bytes_that_are_sent() -> None:
    endpoint = parse_destination_url("https://hooks.example/lambda")
    assert isinstance(endpoint, HttpTarget)
    destination, dead_letter = blocks("http")
    head, _, _ = make_request(endpoint, make_message("on_failure", ended())).partition(b"\r\n\r\n")
    assert destination == head.decode().replace("\r\n", "\n") + "\n"
    whole = make_request(endpoint, make_message("dead_letter_queue", ended()))
    assert dead_letter == whole.decode().replace("\r\n", "\n") + "\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_the_fields_of_an_entry(kind: Kind) -> None:
    section = PAGE.partition("## Streams\n")[2].partition("\n## ")[0]
    assert all(f"`{field}`" in section for field in make_fields(make_message(kind, ended())))


def test_every_target_on_the_page_is_one() -> None:
    (settings,) = blocks("yaml")
    targets = yaml.safe_load(settings)["accounts"]["default"]["functions"]["report"].values()
    shown = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", PAGE.partition("| Repeated after")[2], re.MULTILINE)
    assert len(shown) == 6
    for target in [*targets, *shown]:
        assert parse_destination_url(target).shown == target
