"""Cuts lists into pages by `Marker` and `MaxItems`. A marker is the last name of the page before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..policy.requests.validation import check_range

_MOST = 50
_MAX_ITEMS = "MaxItems"


class Page(NamedTuple):
    """Holds the names of one page, and the members of the answer that lead to the next one."""

    names: Sequence[str]
    members: Mapping[str, str]


def find_page_problems(query: Mapping[str, str]) -> list[str]:
    """Returns the constraints that `MaxItems` fails."""
    given = query.get(_MAX_ITEMS)
    if given is None:
        return []
    if not (given.isascii() and given.removeprefix("-").isdecimal() and len(given) <= 9):
        return [f"Value '{given}' at 'maxItems' failed to satisfy constraint: Member must be a number"]
    return check_range("maxItems", int(given), 1, _MOST)


def cut_page(names: Sequence[str], query: Mapping[str, str]) -> Page:
    """Returns the page of sorted names that a query asks for."""
    marker = query.get("Marker", "")
    left = [name for name in names if name > marker] if marker else list(names)
    most = int(query.get(_MAX_ITEMS, _MOST))
    members = {"NextMarker": left[most - 1]} if len(left) > most else {}
    return Page(left[:most], members)
