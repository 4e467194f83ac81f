"""The first seeds of the simulation; `make simulate` runs more."""

import pytest

from .broken import BREAKS, Break, find
from .course import run

_SEEDS = 60


def test_no_fault_lets_a_call_run_without_a_slot_or_a_slot_be_lost() -> None:
    for seed in range(_SEEDS):
        run(seed)


def test_a_seed_is_one_course_of_events() -> None:
    assert run(7) == run(7)


# The seeds at which each is seen first: `python -m tests.simulation --broken`.
@pytest.mark.parametrize("breakage", BREAKS, ids=lambda breakage: breakage.name.replace(" ", "-"))
def test_the_simulation_sees_what_is_broken(breakage: Break) -> None:
    found = find(breakage, range(breakage.first, breakage.first + 150))
    assert found is not None, "no seed sees it any more; look for one: python -m tests.simulation --broken"
