"""The blows of a seed as rows of the verdict: what, when, how long, what was seen meanwhile, how soon it healed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .fault_effect import Blow, Healing
from .fault_log import Damage
from .timeline import Second


@dataclass
class Healed:
    """How soon all could be used again after a blow. `at`: seconds from the seed's start; `seconds`: `None` for
    never; `lag`: for how long the machine was starved, where that may be why it was late."""

    name: str
    at: float
    seconds: float | None
    promise: float
    lag: float = 0.0

    @property
    def is_kept(self) -> bool:
        return self.seconds is not None and self.seconds <= self.promise

    @property
    def judgement(self) -> str:
        return "yes" if self.is_kept else "not judged" if self.lag else "no"

    @property
    def took(self) -> str:
        return "never" if self.seconds is None else f"{self.seconds:.1f} s"

    @property
    def beyond(self) -> float:
        """Seconds above the promise; below 0 when it was kept."""
        return math.inf if self.seconds is None else self.seconds - self.promise

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.name,
            "since": round(self.at, 2),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "promise": self.promise,
            "kept": self.is_kept,
            **({"lag": round(self.lag, 2)} if self.lag else {}),
        }


@dataclass
class Struck:
    """One blow. `at` and `over`: seconds from the seed's start; `lasted`: seconds, `None` for good. For the rest see
    `Blow`."""

    name: str
    kind: str
    at: float
    lasted: float | None = 0.0
    overshoot: int = 0
    overshoot_with_lost: int = 0
    refused_while_free: int = 0
    failed: int = 0
    unanswered: int = 0
    healed: list[Healed] = field(default_factory=list)
    around: list[Second] = field(default_factory=list)
    over: float | None = None

    @property
    def badness(self) -> tuple[int, float]:
        """By this the worst of a kind is found."""
        return self.overshoot, max((healed.beyond for healed in self.healed), default=-math.inf)

    @property
    def duration(self) -> str:
        return "for good" if self.lasted is None else f"{self.lasted:.1f} s"

    def as_json(self) -> dict[str, Any]:
        return {
            "blow": self.name,
            "at": round(self.at, 2),
            "lasted": None if self.lasted is None else round(self.lasted, 2),
            "over": None if self.over is None else round(self.over, 2),
            "overshoot": self.overshoot,
            "overshoot_with_calls_of_lost_gateways": self.overshoot_with_lost,
            "refused_while_slots_were_free": self.refused_while_free,
            "failed_for_want_of_the_store": self.failed,
            "unanswered": self.unanswered,
            "healed": [healed.as_json() for healed in self.healed],
            **({"around": [second.as_json() for second in self.around]} if self.around else {}),
        }


def list_blows(damage: Damage, started: float) -> list[Struck]:
    """A row for each blow, in the order in which they fell; one for the load alone, which is no blow, before them."""
    alone = [
        Struck(healing.name, healing.name, healing.since - started, healed=[_describe(healing, started)])
        for healing in damage.healings
        if healing.blow is None
    ]
    return alone + [_list_blow(blow, damage.healings, started) for blow in damage.blows]


def _list_blow(blow: Blow, healings: Iterable[Healing], started: float) -> Struck:
    return Struck(
        blow.name,
        blow.kind,
        blow.began - started,
        None if blow.ended is None else blow.ended - blow.began,
        blow.overshoot,
        blow.overshoot_with_lost,
        blow.refused_while_free,
        blow.failed,
        blow.unanswered,
        [_describe(healing, started) for healing in healings if healing.blow is blow],
        blow.around,
        None if blow.over is None else blow.over - started,
    )


def _describe(healing: Healing, started: float) -> Healed:
    return Healed(healing.name, healing.since - started, healing.seconds, healing.promise, healing.lag)
