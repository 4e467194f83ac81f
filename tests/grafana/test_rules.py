"""Prometheus' own tools on the files in grafana/, and the runbook beside the alerts."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.tools import AMTOOL, PROMTOOL, Tool

from .expressions import ROOT, RULES, take_apart

GRAFANA = ROOT / "grafana"
SEVERITIES = {"critical", "warning"}


def check(tool: Tool, *arguments: str) -> str:
    """What the tool prints, run in grafana/; skips the test where there is no such tool."""
    environment = {**os.environ, "GOGC": "800"}  # Go's collector takes a fifth of the time, and memory is there
    done = subprocess.run(
        [tool.require(), *arguments], cwd=GRAFANA, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def list_rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in list_rules() if "alert" in rule]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    printed = check(PROMTOOL, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert f"{len(list_rules())} rules found" in printed


@pytest.mark.timeout(330)  # promtool computes for ten seconds where nothing else does
def test_each_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    check(PROMTOOL, "test", "rules", "rules_test.yml")


def test_there_is_a_case_of_each_alert_that_fires_and_one_that_does_not() -> None:
    """The cases are what the test above goes by."""
    cases = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load((GRAFANA / "rules_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert set(cases) == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


def test_alertmanager_takes_its_example() -> None:
    check(AMTOOL, "check-config", "alertmanager.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    """The runbook has a heading of the alert's name, under which stand its four parts."""
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor == alert["alert"].lower()
    _, heading, after = (ROOT / file).read_text().partition(f"\n## {alert['alert']}\n")
    assert heading, f"{file} has no heading {alert['alert']}"
    entry = after.partition("\n## ")[0]
    for part in ("Means", "Clients see", "Look", "Do"):
        assert re.search(rf"^\*\*{part}\.?\*\*", entry, re.MULTILINE), f"{alert['alert']} does not say: {part}"


def test_the_runbook_has_no_entry_of_an_alert_that_is_not() -> None:
    headings = re.findall(r"^## (InvokeGateway\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_an_alert_is_taken_apart_at_what_it_compares() -> None:
    """Not within brackets or quotes; numbers are left out."""
    assert take_apart("rate(a[5m]) / (b > 0) > 0.5\n  and on (x) c >= 1 unless d{e='f and g > 1'} != h + 1") == [
        "rate(a[5m]) / (b > 0)",
        "c",
        "d{e='f and g > 1'}",
        "h + 1",
    ]
    assert take_apart("a > on (job) group_left () (b + 60)") == ["a", "(b + 60)"]
    assert take_apart('absent(up{job="x"}) == 1') == ['up{job="x"}']
    assert take_apart("a > a offset 1h and on (job) b") == ["a", "a", "b"]


def test_the_names_of_metrics_in_the_rules_are_the_gateways() -> None:
    """Also where an alert asks for one that is there only sometimes."""
    text = RULES.read_text()
    listed = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    recorded = {rule["record"] for rule in list_rules() if "record" in rule}
    names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"(?<![\w:])invoke_gateway_\w+(?![\w:])", text)}
    assert [name for name in sorted(names) if f"| `{name}` |" not in listed and name not in recorded] == []
