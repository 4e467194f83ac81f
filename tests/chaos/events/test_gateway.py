"""The gateway's own queue, judged from outside."""

from __future__ import annotations

import json
from pathlib import Path

from .test_run import run_prove


def test_the_gateway_loses_no_event_though_it_is_killed(tmp_path: Path) -> None:
    report = tmp_path / "events.html"
    ran = run_prove("--events", "300", "--fault-count", "1", "--seed", "7", "--json", "--report", str(report))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    verdict = json.loads(ran.stdout)
    assert verdict["holds"]
    assert verdict["events"]["accepted"] == 300
    assert verdict["events"]["lost"] == verdict["events"]["unexplained"] == 0
    assert "It holds" in report.read_text()
