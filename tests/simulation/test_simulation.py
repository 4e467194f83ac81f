"""As much of the simulation as ten seconds allow; `python -m tests.simulation` runs more."""

import time

import pytest

from .broken import BREAKS, Break, find
from .course import run

_SECONDS = 10.0
# At least so many, on however slow a machine.
_SEEDS = 40


def test_no_fault_lets_a_call_run_without_a_slot_or_a_slot_be_lost() -> None:
    end = time.monotonic() + _SECONDS
    seed = 0
    while seed < _SEEDS or time.monotonic() < end:
        run(seed)
        seed += 1


def test_a_seed_is_one_course_of_events() -> None:
    assert run(7) == run(7)


# The seeds at which each is seen first: `python -m tests.simulation --broken`.
@pytest.mark.parametrize("breakage", BREAKS, ids=lambda breakage: breakage.name.replace(" ", "-"))
def test_the_simulation_sees_what_is_broken(breakage: Break) -> None:
    found = find(breakage, range(breakage.first, breakage.first + 150))
    assert found is not None, "no seed sees it any more; look for one: python -m tests.simulation --broken"
