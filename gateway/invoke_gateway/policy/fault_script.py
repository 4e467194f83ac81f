"""Decides by a script which fault each call of a function meets.

A script is a row of steps. Each call takes one position, whatever its outcome. Taking is one synchronous action, so two
calls that come together take two positions. A position draws one random number, needed or not. So the fault of the n-th
call follows from the script, its seed and n alone. A change to one step changes no number of another step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .invoke_errors import InjectedError

MOST_SCRIPTS = 1000

LATENCY = "latency"
CUT = "cut"


@dataclass(frozen=True, slots=True)
class FaultStep:
    """Describes the faults of `calls` consecutive calls, each with `probability`: an error, a latency (seconds), a
    response that is cut after a number of body bytes. A step without faults lets calls pass."""

    calls: int = 1
    probability: float = 1.0
    error: InjectedError | None = None
    latency_seconds: float = 0.0
    cut_after_bytes: int | None = None

    @property
    def passes(self) -> bool:
        return self.error is None and not self.latency_seconds and self.cut_after_bytes is None

    @property
    def faults(self) -> tuple[str, ...]:
        """Returns the faults of the step, by their names in metrics."""
        latency = (LATENCY,) if self.latency_seconds else ()
        cut = (CUT,) if self.cut_after_bytes is not None else ()
        return (*latency, *((self.error.code,) if self.error is not None else ()), *cut)


@dataclass(frozen=True, slots=True)
class Injected:
    """Names the fault of one call, with its step and script; steps count from 1."""

    script: str
    number: int
    step: FaultStep

    def describe(self) -> str:
        """Describes the decision as a structured field (RFC 8941, a dictionary)."""
        return f'fault-script="{self.script}", step={self.number}'


class FaultScript:
    """Holds a script and its position. `function` is None for all functions of the account. Random() of a whole number
    gives the same row on every machine and version of Python."""

    def __init__(
        self,
        id: str,
        account: str,
        function: str | None,
        steps: Sequence[FaultStep],
        *,
        seed: int = 0,
        loop: bool = False,
    ) -> None:
        self.id = id
        self.account = account
        self.function = function
        self.seed = seed
        self.steps = tuple(steps)
        self.loop = loop
        self.calls = 0
        self.injected = 0
        self._done = [Injected(id, number, step) for number, step in enumerate(self.steps, 1)]
        self._position = 0
        self._left = self.steps[0].calls
        self._draw = Random(seed).random

    @property
    def is_over(self) -> bool:
        return self._position == len(self.steps)

    @property
    def position(self) -> int | None:
        """Returns the number of the next step; None when all are over."""
        return None if self.is_over else self._position + 1

    def take(self) -> Injected | None:
        """Returns the fault of the next call, None if the call passes. The script must not be over."""
        injected = self._done[self._position]
        self._left -= 1
        if not self._left:
            self._go_on()
        self.calls += 1
        if self._draw() >= injected.step.probability or injected.step.passes:
            return None
        self.injected += 1
        return injected

    def _go_on(self) -> None:
        self._position += 1
        if self.is_over and self.loop:
            self._position = 0
        if not self.is_over:
            self._left = self.steps[self._position].calls

    def __repr__(self) -> str:
        where = "over" if self.is_over else f"at step {self.position} of {len(self.steps)}"
        return f"<FaultScript {self.id} {self.account}/{self.function or '*'} {where}>"


class TooManyScripts(Exception):
    """There are as many fault scripts as there may be, and none of them is over. End some of them."""


class FaultScripts:
    """Holds all scripts of one gateway: at most one for a function, and one for all functions of an account."""

    def __init__(self) -> None:
        self._scripts: dict[str, FaultScript] = {}
        self._by_target: dict[tuple[str, str | None], FaultScript] = {}
        self._latest = 0

    def add(
        self, account: str, function: str | None, steps: Sequence[FaultStep], *, seed: int = 0, loop: bool = False
    ) -> tuple[FaultScript, FaultScript | None]:
        """Returns the new script, and the one that it replaces. Raises `TooManyScripts`."""
        replaced = self._by_target.get((account, function))
        if replaced is not None:
            self.end(replaced.id)
        elif len(self._scripts) >= MOST_SCRIPTS:
            self._forget_one()
        self._latest += 1
        script = FaultScript(str(self._latest), account, function, steps, seed=seed, loop=loop)
        self._scripts[script.id] = self._by_target[account, function] = script
        return script, replaced

    def end(self, id: str) -> bool:
        """Ends a script, and returns whether there was one."""
        script = self._scripts.pop(id, None)
        if script is None:
            return False
        del self._by_target[script.account, script.function]
        return True

    def end_all(self) -> None:
        self._scripts.clear()
        self._by_target.clear()

    def all(self) -> list[FaultScript]:
        """Returns every script, also ended ones, in the order in which they were added."""
        return list(self._scripts.values())

    def take(self, account: str, function: str) -> Injected | None:
        """Returns the fault of the next call of `function`: by its own script until that is over, else by the
        account's."""
        for target in ((account, function), (account, None)):
            script = self._by_target.get(target)
            if script is not None and not script.is_over:
                return script.take()
        return None

    def _forget_one(self) -> None:
        over = next((script for script in self._scripts.values() if script.is_over), None)
        if over is None:
            raise TooManyScripts
        self.end(over.id)

    def __repr__(self) -> str:
        return f"<FaultScripts {self.all()}>"
