"""Every expression of the dashboards and the rules, with its variables filled in, and what Prometheus says to it.

An alert's expression returns nothing while the alert does not fire. So it is taken apart: at `and`, `or` and `unless`,
then at its comparison; both sides of that are asked for, unless they are numbers, and of `absent(x)` the x. What an
alert compares with an hour ago is asked for now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana" / "rules.yml"
MONITORING = ROOT / "docs" / "guides" / "monitoring.md"
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))

_OPENING, _CLOSING = "([{", ")]}"
_SET_OPERATOR = re.compile(r"\s+(?:and|or|unless)\s+(?:on\s*\([^)]*\)\s*)?")
_COMPARISON = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*(?:on\s*\([^)]*\)\s*)?(?:group_left\s*\([^)]*\)\s*)?")
_OFFSET = re.compile(r"\s+offset\s+\w+")
_ABSENT = re.compile(r"absent\((.*)\)", re.DOTALL)
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_NUMBER = re.compile(r"[0-9.]+")


class Expression(NamedTuple):
    """PromQL, where it stands, and over what it is asked for: `instant`, `range`, or `label` for the values of one
    label, which is then given as well."""

    source: str
    title: str
    text: str
    kind: str
    label: str = ""


def panels_of(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def in_dashboard(path: Path, variables: Mapping[str, str]) -> Iterator[Expression]:
    """Those of its variables and panels. KeyError where it has a variable that has no value."""
    dashboard = json.loads(path.read_text())
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert found, variable
            yield Expression(path.name, f"${variable['name']}", fill(found[1], variables), "label", found[2])
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            text = fill(target["expr"], variables)
            yield Expression(path.name, panel["title"], text, "instant" if target["instant"] else "range")


def in_rules() -> Iterator[Expression]:
    """Of a recording what it records and its name; of an alert its parts."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                yield Expression(RULES.name, rule["record"], rule["expr"], "instant")
                yield Expression(RULES.name, rule["record"], rule["record"], "instant")
            else:
                for part in take_apart(rule["expr"]):
                    yield Expression(RULES.name, rule["alert"], part, "instant")


def in_monitoring() -> Iterator[Expression]:
    """The queries that the page on monitoring shows: one in a line where comments stand between them, else one."""
    for block in re.findall(r"```promql\n(.*?)```", MONITORING.read_text(), re.DOTALL):
        queries = block.splitlines() if block.startswith("#") else [block]
        for query in queries:
            if query and not query.startswith("#"):
                yield Expression(MONITORING.name, "", query, "instant")


def take_apart(text: str) -> list[str]:
    """What an alert compares, without numbers."""
    parts = []
    for operand in _split(text.strip(), _SET_OPERATOR):
        for side in _split(operand, _COMPARISON):
            side = _OFFSET.sub("", side.strip())
            absent = _ABSENT.fullmatch(side)
            if not _NUMBER.fullmatch(side):
                parts.append(absent[1] if absent else side)
    return parts


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its variables replaced, as Grafana does. KeyError for one that is not known."""
    return _VARIABLE.sub(lambda found: variables[found[1] or found[2]], text)


def _split(text: str, separator: re.Pattern[str]) -> Iterator[str]:
    """Split where `separator` stands outside of brackets and quotes."""
    depth, start, place, quote = 0, 0, 0, ""
    while place < len(text):
        character = text[place]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif depth == 0 and (found := separator.match(text, place)):
            yield text[start:place]
            start = place = found.end()
            continue
        place += 1
    yield text[start:]
