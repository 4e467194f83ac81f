"""Compares docs/guides/async.md with the code. Its transcript is run by tests/docs/test_transcripts.py."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from invoke_gateway.policy.events.event_rules import Condition, Delays, EventRules, Share
from invoke_gateway.policy.payloads.payload import INVOKE_ASYNC_LIMIT
from invoke_gateway.queue.from_request import _NOT_KEPT
from invoke_gateway.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "async.md"
TEXT = PAGE.read_text()


def test_its_example_of_settings_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = Settings.model_validate(yaml.safe_load(example))
    assert settings.accounts["default"].functions["report"].maximum_retry_attempts == 1


def test_its_numbers_are_those_of_the_code() -> None:
    events, rules, delays = Settings().async_, EventRules(), Delays()
    text = " ".join(TEXT.split())
    first, second = delays.function_error
    for said in (
        f"`maximum_retry_attempts` times ({rules.maximum_retry_attempts})",
        f"`function_error_delays_seconds` ({first:g}, {second:g})",
        f"`shortest_delay_seconds` ({events.shortest_delay_seconds:g})",
        f"`longest_delay_seconds` ({events.longest_delay_seconds:g})",
        f"`delivery_attempts` ({events.delivery_attempts})",
        f"`maximum_event_age_seconds` ({rules.maximum_event_age_seconds}; 60 to 21600)",
        f"`quotas.event_request` bytes ({Settings().quotas.event_request:,}), by `InvokeAsync` {INVOKE_ASYNC_LIMIT:,}",
        f"For {Share().seconds:g} seconds after each such refusal events have at most half",
        f"within `drain_seconds` ({Settings().drain_seconds:g})",
    ):
        assert said in text
    assert Share().part == 0.5


def test_it_has_every_way_in_which_an_event_ends() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)
    assert listed == ["Success", *[name for name in Condition.__args__ if name != "Success"]]


def test_it_names_every_header_that_is_not_kept() -> None:
    (named,) = re.findall(r"this one request is made\s\((.*?)\)", TEXT, re.DOTALL)
    listed = {name.lower().encode() for name in re.findall(r"`([\w-]+)`", named)}
    assert listed == _NOT_KEPT - {b"x-amzn-requestid"}, "the event's own is sent instead of that one"


def test_every_page_that_it_leads_to_is_there() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", TEXT)}
    assert links >= {f"async-{name}.md" for name in ("operations", "redis", "sqlite", "targets")}
    assert all((PAGE.parent / link).is_file() for link in links)
