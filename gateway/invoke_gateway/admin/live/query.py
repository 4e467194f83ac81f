"""Parses the query string of the live page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .sparklines import LONG_STEP_SECONDS, STEP_SECONDS

MOST_ROWS = 200
USUAL_ROWS = 50

MINUTES = {"5": STEP_SECONDS, "60": LONG_STEP_SECONDS}
"""The ranges of the sparklines: minutes, and the seconds of one step."""

# Digits of a number of rows, and characters of a search: longer ones are refused unread.
_LONGEST_NUMBER = 9
_LONGEST_SEARCH = 256


class BadLiveQuery(Exception):
    """Raised for a query that makes no sense; the text names what to send."""


class LiveQuery(NamedTuple):
    """Selects rows: of one account or all, of functions whose names contain `search` (case-folded), at most `top`.
    `minutes` is the range of the sparklines."""

    account: str | None = None
    search: str = ""
    top: int = USUAL_ROWS
    minutes: str = "5"

    def matches(self, account: str | None, name: str | None) -> bool:
        return (self.account is None or account == self.account) and (
            not self.search or (name is not None and self.search in name.casefold())
        )


def read_live_query(parameters: Mapping[str, str]) -> LiveQuery:
    """Parses a query string; an empty value counts as absent. Raises `BadLiveQuery`."""
    top = parameters.get("top") or str(USUAL_ROWS)
    if not (top.isascii() and top.isdigit() and len(top) <= _LONGEST_NUMBER):
        raise BadLiveQuery(f"top={top[:_LONGEST_SEARCH]} is not a number. Send the number of rows.")
    search = parameters.get("search", "")
    if len(search) > _LONGEST_SEARCH:
        raise BadLiveQuery(f"search has more than {_LONGEST_SEARCH} characters. Send a part of a function's name.")
    account = parameters.get("account") or None
    if account is not None and not (account.isascii() and account.isdigit() and len(account) == 12):
        raise BadLiveQuery("account must be twelve digits; leave it out for all accounts.")
    minutes = parameters.get("minutes") or "5"
    if minutes not in MINUTES:
        raise BadLiveQuery(f"minutes must be {' or '.join(MINUTES)}; leave it out for 5.")
    return LiveQuery(account, search.casefold(), min(int(top), MOST_ROWS), minutes)
