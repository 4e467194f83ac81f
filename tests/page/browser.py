"""A real Chromium, that of the system, and what it has seen: what it asked for, and what its console said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.gateways import PATIENCE
from tests.support.tools import CHROMIUM

expect.set_options(timeout=PATIENCE * 1000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that runs until the block ends. AssertionError where there is none."""
    program = CHROMIUM.find()
    assert program is not None, CHROMIUM
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--disable-dev-shm-usage", "--no-proxy-server", "--disable-lcd-text"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, every address that it asked for, and whatever went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@contextmanager
def watched_page(browser: Browser, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Watched]:
    """A page in a profile of its own. `options` are those of Playwright's new_context."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()
