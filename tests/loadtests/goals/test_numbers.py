"""The page of numbers has the figures of the committed run."""

from __future__ import annotations

import json
from typing import Any

from loadtests.bench.goals import numbers
from loadtests.bench.report import RESULTS


def test_the_page_has_the_tables_of_the_committed_run() -> None:
    page = numbers.PAGE.read_text()
    document = json.loads((RESULTS / "bench.json").read_text())
    assert numbers.fill(page, document) == page, "run: python -m loadtests.bench.goals.numbers"
    assert f"| On {document['machine']['processor']}" in page


def test_each_figure_has_its_place() -> None:
    def row(name: str, microseconds: float, ratio: float) -> dict[str, Any]:
        return {"name": name, "median_us": microseconds, "gateway_ratio": ratio}

    document = {
        "machine": {"processor": "AMD EPYC", "python": "3.11.7"},
        "goals": [{"goal": "forwarded / nginx", "now": 2.5}, {"goal": "refused / nginx", "now": None}],
        "paths": {
            "forwarded": [row("gateway", 50, 1), row("nginx", 20, 2.5), {"name": "HAProxy"}],
            "refused": [row("gateway", 30, 1)],
        },
    }
    page = "a\n<!-- bench: goals -->\n\n<!-- end -->\nb\n<!-- bench: peers -->\nold\n<!-- end -->\nc"
    filled = numbers.fill(page, document)
    assert "| forwarded / nginx | 2.30 | 2.50 | MISSED |" in filled
    assert "| refused / nginx | 2.40 |  | not measured |" in filled
    assert (
        "| | nginx | gateway |\n| --- | --: | --: |\n| forwarded, µs | 20.0 | 50.0 |\n| gateway ÷ it | 2.50 | 1.00 |"
        in filled
    )
    assert "| refused, µs |  | 30.0 |" in filled
    assert "old" not in filled
    assert "compiled" not in filled
    assert numbers.fill(filled, document) == filled


def test_a_run_with_the_compiled_build_has_two_columns_more() -> None:
    goals = [
        {"goal": "forwarded / nginx", "now": 2.5, "compiled": 2.0},
        {"goal": "refused / nginx", "now": 2.0, "compiled": None},
    ]
    document = {
        "machine": {"processor": "AMD EPYC", "python": "3.11.7"},
        "goals": goals,
        "paths": {"forwarded": [], "refused": []},
    }
    filled = numbers.fill("<!-- bench: goals -->\n\n<!-- end -->", document)
    assert "| On AMD EPYC, Python 3.11.7 | goal | now | | compiled | |\n| --- | --: | --: | --- | --: | --- |" in filled
    assert "| forwarded / nginx | 2.30 | 2.50 | MISSED | 2.00 | met |" in filled
    assert "| refused / nginx | 2.40 | 2.00 | met |  | not measured |" in filled
