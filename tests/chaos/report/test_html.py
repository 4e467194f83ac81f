"""Tests the HTML report."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.verdict import CallsVerdict

from .results import broken, result


class Page(HTMLParser):
    """What a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.outside += [str(value) for name, value in attrs if name in ("src", "href", "data", "action")]


def test_the_report_stands_alone_and_takes_nothing_for_markup(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    verdict = CallsVerdict("x", [result(1, 20), result(2, 21, broken())])
    path.write_text(render(verdict, "invoke-gateway prove --seeds 2"))
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.outside == []
    assert "url(" not in text
    assert (page.tags["script"], page.tags["svg"], page.tags["details"]) == (0, 2, 2)
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme:dark" in text
    assert "It does not hold" in text
    assert "It holds" in render(CallsVerdict("x", [result(1, 20)]), "prove")
