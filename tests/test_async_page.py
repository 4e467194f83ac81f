"""What docs/guides/async.md says is what the code does: its transcript is run, in one shell, all of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from invoke_gateway.policy.event_rules import Condition, Delays, EventRules, Share
from invoke_gateway.policy.payload import INVOKE_ASYNC_LIMIT
from invoke_gateway.queue.from_request import _NOT_KEPT
from invoke_gateway.settings import Settings
from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.tools import CURL

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guides" / "async.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
MARK = "\x1e"

# What differs from one run to the next.
CHANGING = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"(?<=<id>-)(\w+)-[0-9a-f]+(?=\")", r"\1-<time>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}Z?", "<time>"),
    (r"(?m)^date: .*$", "date: <time>"),
    (r"\b\d+\.\d s\b", "<seconds>"),
    (r"[^ ]*/(?=events\.db)", "<home>/"),
    (r"[ \t─]+", " "),
    (r"(?m)^.*Killed.*\n", ""),  # the shell's word on what became of a job
)


def split(block: str) -> list[tuple[str, str]]:
    """Each command, with the lines of its here-document, and what the page says that it prints."""
    said: list[tuple[str, str]] = []
    is_document = False
    for line in block.splitlines():
        if line.startswith("$ "):
            said.append((line[2:], ""))
            is_document = line.endswith("<<END")
        elif is_document:
            said[-1] = (f"{said[-1][0]}\n{line}", "")
            is_document = line != "END"
        else:
            said[-1] = (said[-1][0], f"{said[-1][1]}{line}\n")
    return said


def lines_of(printed: str) -> list[str]:
    for pattern, instead in CHANGING:
        printed = re.sub(pattern, instead, printed)
    return [line.strip() for line in printed.splitlines() if line.strip()]


def run(commands: list[str], folder: Path) -> list[str]:
    """What each command printed. Ports are free ones, and nothing that was started is left."""
    listen, admin = free_port(), free_port()
    script = "".join(f"printf '{MARK}'\n{command}\n" for command in commands)
    script = script.replace("9001", str(listen)).replace("9002", str(admin))
    environment = bare_environment(folder) | {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "INVOKE_GATEWAY_LISTEN": f"127.0.0.1:{listen}",
        "INVOKE_GATEWAY_ADMIN": f"127.0.0.1:{admin}",
    }
    log = folder.parent / f"{folder.name}.log"
    with running(["bash", "-c", script], log, environment, folder) as shell:
        wait_until(lambda: not shell.is_running, "the transcript's last command has ended", timeout=120)
        assert shell.stop() == 0, shell.tail()
    printed = log.read_text().split(MARK)[1:]
    return [re.sub(rf"(events-|127\.0\.0\.1:){listen}\b", r"\g<1>9001", text) for text in printed]


@pytest.mark.timeout(150)
def test_its_transcript_is_what_happens(tmp_path: Path) -> None:
    CURL.require()
    said = [step for block in BLOCKS for step in split(block)]
    assert len(said) >= 12
    printed = run([command for command, _ in said], tmp_path)
    assert len(printed) == len(said)
    for (command, expected), got in zip(said, printed, strict=True):
        assert lines_of(got) == lines_of(expected), command


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
