"""Serves the live page as one file, with a policy that permits only its own scripts, and requests only to its gateway.

The page is written in several files (`assets/`), which are put into one when it is first served, without a build.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_ASSET = re.compile(r'<link rel="stylesheet" href="([a-z]+\.css)">|<script src="([a-z]+\.js)"></script>')

_PARTS = {
    "script-src": re.compile(r"<script>(.*?)</script>", re.DOTALL),
    "style-src": re.compile(r"<style>(.*?)</style>", re.DOTALL),
}


class LivePage(NamedTuple):
    html: bytes
    headers: dict[str, str]


@cache
def load_page() -> LivePage:
    """Loads the page and its headers. The hashes are computed from the files, so the files can be changed."""
    html = _ASSET.sub(_put_in, _read("live.html"))
    allowed = [f"{name} {' '.join(map(_hash, part.findall(html)))}" for name, part in _PARTS.items()]
    policy = [
        "default-src 'none'",
        *allowed,
        "connect-src 'self'",
        "img-src data:",  # the icon, which is in the file
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(policy),
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    return LivePage(html.encode(), headers)


def _put_in(named: re.Match[str]) -> str:
    style, script = named.groups()
    return f"<style>\n{_read(style)}</style>" if style else f"<script>\n{_read(script)}</script>"


def _read(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
