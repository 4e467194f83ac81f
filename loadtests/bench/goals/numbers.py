"""Fills the tables of docs/explanation/numbers.md from the last whole run."""

import json
import re
from collections.abc import Mapping
from typing import Any

from loadtests.bench.goals import goal
from loadtests.bench.goals.goal import show
from loadtests.bench.paths import FORWARDED, PATHS
from loadtests.bench.report import RESULTS

PAGE = RESULTS.parents[1] / "docs" / "explanation" / "numbers.md"
Document = Mapping[str, Any]


def write() -> None:
    """Writes the tables of the run in results/bench.json into the page."""
    PAGE.write_text(fill(PAGE.read_text(), json.loads((RESULTS / "bench.json").read_text())))


def fill(page: str, document: Document) -> str:
    """Returns the page with the tables of this run between its marks."""
    return _replace(_replace(page, "goals", _goals(document)), "peers", _peers(document))


def _replace(page: str, name: str, table: str) -> str:
    mark = re.compile(rf"(<!-- bench: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    return mark.sub(lambda found: f"{found[1]}{table}{found[2]}", page)


def _goals(document: Document) -> str:
    processor = document["machine"]["processor"]
    now, compiled = ({one["goal"]: one.get(key) for one in document["goals"]} for key in ("now", "compiled"))
    is_compiled = any("compiled" in one for one in document["goals"])
    lines = [
        f"| On {processor}, Python {document['machine']['python']} | goal | now | |{' compiled | |' * is_compiled}",
        f"| --- | --: | --: | --- |{' --: | --- |' * is_compiled}",
    ]
    for one in goal.verdicts(processor, _without_gaps(now), compiled=_without_gaps(compiled)):
        more = f" {show(one.goal, one.compiled)} | {one.compiled_word} |" if is_compiled else ""
        lines.append(f"| {one.goal.name} | {one.wanted} | {show(one.goal, one.now)} | {one.word} |{more}")
    return "\n".join(lines)


def _without_gaps(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _peers(document: Document) -> str:
    """Makes two lines of each path: the time of each proxy, and the gateway's over it."""
    paths = {path: {row["name"]: row for row in document["paths"][path] if row.get("median_us")} for path in PATHS}
    names = sorted(paths[FORWARDED], key=lambda name: float(paths[FORWARDED][name]["median_us"]))
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' --: |' * len(names)}"]
    for path, rows in paths.items():
        times = [f"{rows[name]['median_us']:.1f}" if name in rows else "" for name in names]
        ratios = [f"{rows[name]['gateway_ratio']:.2f}" if name in rows else "" for name in names]
        lines += [f"| {path}, µs | {' | '.join(times)} |", f"| gateway ÷ it | {' | '.join(ratios)} |"]
    return "\n".join(lines)


if __name__ == "__main__":
    write()
