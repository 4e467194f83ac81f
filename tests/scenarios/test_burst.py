"""A burst with faults on both sides never runs more at once than there are slots, and leaves every slot free."""

from __future__ import annotations

import pytest

from .burst import CEILINGS, CLIENTS, run_burst

FAST = range(3)
SOAK = range(100, 120)


async def check(seed: int) -> None:
    outcome = await run_burst(seed)
    assert outcome.wrong == []
    assert outcome.highest == CEILINGS
    answers = outcome.answers
    assert min(answers[kind] for kind in ("200", "429", "500", "left")) > 10, f"the burst was too tame: {answers}"
    assert sum(answers[kind] for kind in ("200", "500", "left", "gave up")) + answers["429"] >= CLIENTS


@pytest.mark.parametrize("seed", FAST)
async def test_a_burst_with_faults_on_both_sides_stays_within_its_slots_and_leaves_them_free(seed: int) -> None:
    await check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK)
async def test_twenty_more_bursts_do_too(seed: int) -> None:
    await check(seed)
