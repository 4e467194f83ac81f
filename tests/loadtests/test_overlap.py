"""The backend's word on how many calls ran at once, held against the ceilings."""

from __future__ import annotations

import pytest

from loadtests.load.judging import Ceilings
from loadtests.load.overlap import Highest, read_running, running_by_counter

from .answers import CEILINGS


def test_the_header_of_the_demo_backend_is_read() -> None:
    assert read_running("all=7, checkout=3, search=4") == {"all": 7, "checkout": 3, "search": 4}
    with pytest.raises(ValueError):  # noqa: PT011 - int's own words
        read_running("many")


def test_what_runs_without_a_reservation_is_the_pools() -> None:
    running = {"all": 9, "checkout": 3, "search": 4, "noise": 2}
    assert running_by_counter(running, CEILINGS) == {"account": 9, "checkout": 3, "unreserved": 6}


def test_nothing_is_said_of_the_pool_when_the_header_leaves_functions_out() -> None:
    assert running_by_counter({"all": 30, "search": 4}, CEILINGS) == {"account": 30}


def test_a_call_at_the_ceiling_is_well_and_one_above_it_is_told() -> None:
    highest = Highest()
    assert highest.see({"account": 20, "unreserved": 12, "checkout": 8}, CEILINGS) is None
    assert highest.see({"checkout": 9}, CEILINGS) == "above the limit: 9 of 8 (checkout) ran at once"
    assert "13 of 12 (unreserved)" in str(highest.see({"unreserved": 13}, CEILINGS))
    assert "21 of 20 (account)" in str(highest.see({"account": 21}, CEILINGS))
    highest.see({"checkout": 1}, CEILINGS)
    assert highest.seen == {"account": 21, "unreserved": 13, "checkout": 9}


def test_a_call_is_blamed_for_its_own_limits_only() -> None:
    counts = {"account": 20, "unreserved": 12, "checkout": 9}
    assert Highest().see(counts, CEILINGS, blamed="search") is None
    assert "9 of 8 (checkout)" in str(Highest().see(counts, CEILINGS, blamed="checkout"))
    assert "13 of 12 (unreserved)" in str(Highest().see({"unreserved": 13}, CEILINGS, blamed="search"))
    assert "21 of 20 (account)" in str(Highest().see({"account": 21}, CEILINGS, blamed="checkout"))


def test_a_single_call_of_a_function_whose_reservation_is_zero_is_too_many() -> None:
    ceilings = Ceilings(account=20, pool=20, reserved={"off": 0})
    assert "1 of 0 (off)" in str(Highest().see({"off": 1}, ceilings))


def test_without_known_ceilings_nothing_is_too_many() -> None:
    assert Highest().see({"account": 1000}, Ceilings()) is None
