"""Fixtures of the page's tests: one browser for a module, and a page that is looked after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from tests.page.browser import Watched, chromium, watched_page
from tests.support.sockets import Gateway
from tests.support.tools import CHROMIUM

Open = Callable[..., Watched]


@pytest.fixture(scope="module")  # no longer: its driver occupies the event loop that other modules' tests use
def browser() -> Iterator[Browser]:
    CHROMIUM.require()
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page of a gateway and waits until it shows something; at the end nothing may have gone wrong in it."""
    with ExitStack() as stack:
        opened: list[Watched] = []

        def open_one(served: Gateway, query: str = "", **options: object) -> Watched:
            watched = stack.enter_context(watched_page(browser, **options))
            opened.append(watched)
            watched.page.goto(f"http://{served.server.admin}/{query}")
            watched.page.wait_for_selector("#status[data-state=live]")
            return watched

        yield open_one
        assert [complaint for watched in opened for complaint in watched.complaints] == []
