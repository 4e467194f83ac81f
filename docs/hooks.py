"""Adds README.md and the files outside docs/ that pages link to, when mkdocs builds the site.

So every link works in the repository and on the site, and the site names no repository's address.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).parent.parent
HOME = "README.md"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=(?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Names headings as GitHub does, because tests/test_links.py checks anchors by that rule."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages and files outside docs/, links of added pages included."""
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / HOME)))
    added, pending = {HOME}, [HOME, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    while pending:
        page = pending.pop()
        if page == "docs/index.md":
            continue
        for target in map(str, _list_targets(page)):
            if target in added or target.startswith("docs/") or not (ROOT / target).is_file():
                continue
            added.add(target)
            files.append(File.generated(config, _locate(target), abs_src_path=str(ROOT / target)))
            if target.endswith(".md"):
                pending.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Rewrites the links of a page from paths in the repository to paths on the site."""
    own = page.file.src_uri
    source = HOME if own == "index.md" else own.removeprefix("project/") if _is_outside(own) else f"docs/{own}"
    # A folder is no page: of its link the words are left.
    markdown = re.sub(
        r"\[([^\]]+)\]\(([^)\s#]+)\)",
        lambda link: link[1] if (ROOT / Path(source).parent / link[2]).is_dir() else link[0],
        markdown,
    )
    return LINK.sub(lambda link: _rewrite(link[1], source, own), markdown)


def _rewrite(link: str, source: str, own: str) -> str:
    if re.match(r"\w+:", link):
        return link
    target = _resolve(source, link)
    return os.path.relpath(_locate(target), PurePosixPath(own).parent)


def _list_targets(page: str) -> list[str]:
    links = LINK.findall((ROOT / page).read_text())
    return [_resolve(page, link) for link in links if not re.match(r"\w+:", link)]


def _resolve(source: str, link: str) -> str:
    return os.path.normpath(PurePosixPath(source).parent / link)


def _locate(target: str) -> str:
    """Returns the path on the site of a file of the repository."""
    if target == HOME:
        return "index.md"
    return target.removeprefix("docs/") if target.startswith("docs/") else f"project/{target}"


def _is_outside(src_uri: str) -> bool:
    return src_uri.startswith("project/")
