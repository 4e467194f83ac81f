"""Links between the pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), ROOT / "gateway" / "README.md", ROOT / "loadtests" / "README.md", *ROOT.glob("docs/**/*.md")]
)
SOURCES = {".py", ".lua", ".sql", ".yml", ".yaml", ".html", ".json", ".mjs"}


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_docs_that_the_source_names_is_there() -> None:
    """Also in error texts, comments and alerts."""
    sources = [file for folder in ("gateway", "grafana", "loadtests", "tests") for file in (ROOT / folder).rglob("*")]
    sources = [file for file in sources if file.suffix in SOURCES and "node_modules" not in file.parts]
    named = {
        name for file in [*sources, *PAGES] for name in re.findall(r"(?<![\w/])docs/[\w/.-]+\.md", file.read_text())
    }
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)", page.read_text()):
        link = link[0] or link[1]
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
