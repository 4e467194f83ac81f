"""Serves the live page: one file, with a policy that permits only its own scripts, and requests only to its gateway."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_PARTS = {
    "script-src": re.compile(r"<script>(.*?)</script>", re.DOTALL),
    "style-src": re.compile(r"<style>(.*?)</style>", re.DOTALL),
}


class LivePage(NamedTuple):
    html: bytes
    headers: dict[str, str]


@cache
def load_page() -> LivePage:
    """Loads the page and its headers. The hashes are computed from the file, so it can be changed without a build."""
    html = (files(__package__) / "live.html").read_text(encoding="utf-8")
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


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
