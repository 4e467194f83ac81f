"""Control operations that change a limit while calls come: every fourth seed has some, by a random of its own."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from invoke_gateway.policy.control.state import ControlDocument, ProvisionedConfig
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits

if TYPE_CHECKING:
    from .course import Course

CHANGED = "checkout"
_AT_FIRST = 2


class Tables:
    """Makes the table of each document: the reservation of one function."""

    def __init__(self, total: int, report_rate: float, mail_rate: float) -> None:
        self._total = total
        self._rates = report_rate, mail_rate
        self._known: dict[str, AccountLimits] = {}

    def make(self, kept: ControlDocument) -> Limits:
        """Returns a table that no other gateway has, as each process makes its own."""
        report_rate, mail_rate = self._rates
        account = AccountLimits(
            "a",
            self._total,
            {
                CHANGED: FunctionLimits(int(kept.document or _AT_FIRST)),
                "report": FunctionLimits(1, requests_per_second=report_rate),
                "mail": FunctionLimits(None, requests_per_second=mail_rate),
            },
            provisioned={CHANGED: {"live": ProvisionedConfig(1, 0.0, "7")}},
            control_revision=kept.revision,
        )
        return Limits(account)

    def of(self, revision: str, document: str) -> AccountLimits:
        if revision not in self._known:
            self._known[revision] = self.make(ControlDocument(revision, document)).default
        return self._known[revision]


class Changes:
    """Has gateways change the limit, until all faults are over."""

    def __init__(self, course: Course, seed: int) -> None:
        self._course = course
        self._random = Random(f"{seed} changes")
        self.happen = seed % 4 == 3
        self._gap = self._random.choice([0.05, 0.3, 2.0])
        self.poll_seconds = self._random.choice([0.2, 1.0])
        self.tried = 0

    def plan(self, until: float) -> None:
        if not self.happen:
            return
        at = self._random.expovariate(1 / self._gap)
        while at < until:
            self._course.world.at(at, self._change)
            at += self._random.expovariate(1 / self._gap)

    def _change(self) -> None:
        alive = [gateway for gateway in self._course.gateways if gateway.is_alive]
        if alive:
            self.tried += 1
            self._random.choice(alive).change_limit(str(self._random.choice([1, 2, 3, 4])), f"w{self.tried}")
