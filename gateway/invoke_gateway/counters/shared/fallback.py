"""What is admitted while the store says neither yes nor no: the setting `shared.when_store_is_away`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ...policy.concurrency import Lane, Plan, RateClaim
from .tally import Tally

Policy = Literal["closed", "share", "open"]

IN_WORDS: dict[Policy, str] = {
    "closed": "Calls are refused (shared.when_store_is_away: closed).",
    "share": "This gateway admits calls up to its share of each limit (shared.when_store_is_away: share).",
    "open": "This gateway admits calls up to each limit and ignores other gateways (shared.when_store_is_away: open).",
}


def choose_part(policy: Policy, plan: Plan, tally: Tally) -> tuple[tuple[Lane, ...], tuple[RateClaim, ...]]:
    """The lanes and rates that this gateway may use by itself."""
    if policy == "share":
        return tuple(_shrink(lane, tally) for lane in plan.lanes), _thin(plan.rates, tally)
    return plan.lanes, plan.rates


def _shrink(lane: Lane, tally: Tally) -> Lane:
    return Lane(
        lane.name,
        tuple(
            claim if claim.ceiling is None else replace(claim, ceiling=tally.share_of(claim.ceiling))
            for claim in lane.claims
        ),
    )


def _thin(rates: tuple[RateClaim, ...], tally: Tally) -> tuple[RateClaim, ...]:
    return tuple(replace(rate, per_second=rate.per_second / tally.gateways) for rate in rates)
