"""Each worker of a parallel run gets whole files, the longest first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_xdist_make_scheduler
from tests.support.scheduling import LONGEST, ON_MINISTACK, TOGETHER, LongestFirst, find_scope, sort_by_duration

ROOT = Path(__file__).parents[1]


class Item:
    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_every_file_that_is_named_is_there() -> None:
    named = {*TOGETHER, *LONGEST} - {*TOGETHER.values()}
    assert [file for file in sorted(named) if not (ROOT / file).is_file()] == []


def test_files_that_share_servers_have_one_scope_and_others_have_their_own() -> None:
    assert find_scope("tests/live/test_events.py::test_one[a::b]") == ON_MINISTACK
    assert find_scope("tests/live/test_throttling.py::test_one") == ON_MINISTACK
    assert find_scope("tests/test_links.py::test_one[a::b]") == "tests/test_links.py"


def test_the_longest_are_first_and_the_rest_keep_their_order() -> None:
    nodeids = ["tests/b.py::one", f"{LONGEST[2]}::one", "tests/a.py::one", "tests/live/test_events.py::one"]
    items: list[Any] = [Item(nodeid) for nodeid in nodeids]
    sort_by_duration(items)
    assert [item.nodeid for item in items] == [nodeids[3], nodeids[1], nodeids[0], nodeids[2]]


@pytest.mark.parametrize(("dist", "used"), [("loadfile", LongestFirst), ("load", type(None))])
def test_runs_that_distribute_files_use_it(dist: str, used: type) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(dist=dist), getvalue=lambda _: ["popen"], rootpath=ROOT)
    assert type(pytest_xdist_make_scheduler(config, None)) is used
