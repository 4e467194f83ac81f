"""Decides what is admitted while the store is unavailable: the setting `shared.on_store_failure`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ...policy.concurrency import GrowthClaim, Lane, Plan, RateClaim
from .tally import Tally

Policy = Literal["refuse", "local_share", "admit"]

IN_WORDS: dict[Policy, str] = {
    "refuse": "Calls are refused (shared.on_store_failure: refuse).",
    "local_share": "This gateway admits calls up to its share of each limit (shared.on_store_failure: local_share).",
    "admit": "This gateway admits calls up to each limit and ignores other gateways (shared.on_store_failure: admit).",
}


def choose_part(policy: Policy, plan: Plan, tally: Tally) -> tuple[tuple[Lane, ...], tuple[RateClaim, ...]]:
    """Returns the lanes and rates that this gateway may use without the store."""
    if policy == "local_share":
        return tuple(_shrink(lane, tally) for lane in plan.lanes), _thin(plan.rates, tally)
    return plan.lanes, plan.rates


def _shrink(lane: Lane, tally: Tally) -> Lane:
    return Lane(
        lane.name,
        tuple(
            claim if claim.ceiling is None else replace(claim, ceiling=tally.share_of(claim.ceiling))
            for claim in lane.claims
        ),
        _thin(lane.rates, tally),
    )


def _thin(rates: tuple[RateClaim, ...], tally: Tally) -> tuple[RateClaim, ...]:
    return tuple(_divide(rate, tally.gateways) for rate in rates)


def _divide(rate: RateClaim, gateways: int) -> RateClaim:
    if isinstance(rate, GrowthClaim):
        return replace(rate, per_second=rate.per_second / gateways, most=rate.most / gateways)
    return replace(rate, per_second=rate.per_second / gateways)
