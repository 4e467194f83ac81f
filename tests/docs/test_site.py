"""The documentation site is built strictly, has every page, and needs no other host."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "HOME": str(folder.parent)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "built"
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def list_pages(entries: object) -> list[str]:
    """Returns the pages of a part of the navigation."""
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    assert values is not None
    return [page for value in values for page in list_pages(value)]  # type: ignore[attr-defined]  # a list


def test_every_page_is_in_the_navigation() -> None:
    pages = {str(file.relative_to(ROOT / "docs")) for file in (ROOT / "docs").rglob("*.md")}
    outside = {page for page in list_pages(CONFIG["nav"]) if page.startswith("project/")}
    assert {*list_pages(CONFIG["nav"])} == pages | outside | {"index.md"}, "add it to nav in mkdocs.yml"


def test_every_link_of_the_site_leads_to_a_file(site: Path) -> None:
    """Also those to files outside docs/, which docs/hooks.py adds."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        for link in re.findall(r'<(?:a [^>]*?href|img [^>]*?src)="([^"#]+)', page.read_text()):
            if re.match(r"\w+:|//", link) or page.name == "404.html":
                continue
            target = (site / link.lstrip("/")) if link.startswith("/") else page.parent / unquote(link)
            assert target.exists(), f"{page.relative_to(site)}: {link}"


def test_the_first_page_is_the_readme_with_its_picture(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "Ninety seconds" in page
    assert 'src="images/live-page-throttling.png"' in page


def test_a_page_loads_nothing_from_another_host(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]*? src="(https?:[^"]*|//[^"]*)|<link[^>]*? href="(https?:[^"]*|//[^"]*)'
    )
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text()) == [], page.relative_to(site)
