"""The store and the tally broken on purpose, each in one way: a simulation that cannot see these proves nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from invoke_gateway.counters.shared import tally

from .course import run
from .store import Library
from .world import Violation

# What other scripts include.
_PARTS = ("prelude.lua", "pruning.lua", "forgetting.lua", "recovery.lua")


class Break(NamedTuple):
    """`was` becomes `now` in a file: `tally.py`, or a file of Lua in all scripts that have it. Tests look for it from
    seed `first` on; `python -m tests.simulation --broken` tells which sees it first."""

    name: str
    file: str
    was: str
    now: str
    first: int = 0

    def core(self) -> ModuleType:
        if self.file != "tally.py":
            return tally
        assert tally.__file__ is not None
        broken = ModuleType(f"{tally.__name__}_broken")
        broken.__package__ = tally.__package__
        sys.modules[broken.__name__] = broken  # annotations are looked up there
        exec(compile(self._apply(Path(tally.__file__).read_text("utf-8")), self.name, "exec"), broken.__dict__)
        return broken

    def library(self) -> Library:
        if self.file == "tally.py":
            return Library()
        found = []

        def change(name: str, source: str) -> str:
            if f"{name}.lua" != self.file and (self.file not in _PARTS or self.was not in source):
                return source
            found.append(name)
            return self._apply(source)

        library = Library(change)
        assert found, self.file
        return library

    def _apply(self, source: str) -> str:
        if source.count(self.was) != 1:
            raise ValueError(f"{self.name}: {self.was!r} is not once in {self.file} any more; break it in another way")
        return source.replace(self.was, self.now)


BREAKS = (
    Break(
        "a ceiling that lets one more in",
        "take.lua",
        "ceiling = lane[i + 1]\n",
        "ceiling = lane[i + 1] < 0 and -1 or lane[i + 1] + 1\n",
    ),
    Break(
        "no check of the number",
        "take.lua",
        "if at ~= epoch .. ':' .. (number - 1) then",
        "if (at or ''):match('^%d+') ~= tostring(epoch) then",
        first=12,
    ),
    Break(
        "no check of the epoch",
        "take.lua",
        "if at ~= epoch .. ':' .. (number - 1) then",
        "if (at or ''):match('%d+$') ~= tostring(number - 1) then",
        first=1618,
    ),
    Break(
        "a late register is believed",
        "register.lua",
        "if at and tonumber(at:match('^%d+')) >= epoch then",
        "if false then",
        first=24,
    ),
    Break(
        "sums keep what ended leases held",
        "forgetting.lua",
        "    add(key, held[i], -held[i + 1])\n",
        "    call('HDEL', key, held[i])\n",
    ),
    Break(
        "nothing is ever pruned",
        "pruning.lua",
        "if #ended > 0 then",
        "if false then",
        first=19,
    ),
    Break(
        "no lease for all after the store was away",
        "pruning.lua",
        "if freshest[2] - keep < now + lease / 2 then",
        "if false then",
        first=232,
    ),
    Break(
        "no refill",
        "prelude.lua",
        "'refill', now + lease)\n    return lease",
        "'refill', now)\n    return 0",
        first=17,
    ),
    Break(
        "a renewal brings a lost lease back",
        "renew.lua",
        "if tonumber(known_epoch) ~= epoch or",
        "if false and",
        first=19,
    ),
    Break(
        "rates are not asked",
        "take.lua",
        "if bucket.level + 1 <= bucket.most then",
        "if true then",
    ),
    Break(
        "late grants are kept",
        "tally.py",
        "is_late = now - self._sent_at >= self._identity.patience_seconds",
        "is_late = False",
        first=734,
    ),
    Break(
        "abandoned grants are not given back",
        "tally.py",
        "                    holding.owed -= 1\n                    self._owing[holding] = None\n            elif",
        "                    pass\n            elif",
    ),
    Break(
        "a lost batch gets a new number",
        "tally.py",
        "        self._is_awaited = False\n        self._is_registering = False\n\n    def",
        (
            "        self._is_awaited = False\n"
            "        self._is_registering = False\n"
            "        if self._under_way:\n"
            "            self._number += 1\n"
            "            self._under_way = self._under_way._replace(number=self._number)\n"
            "\n"
            "    def"
        ),
    ),
    Break(
        "a lost batch is forgotten",
        "tally.py",
        "        self._is_awaited = False\n        self._is_registering = False\n\n    def",
        (
            "        self._is_awaited = False\n"
            "        self._is_registering = False\n"
            "        if self._under_way:\n"
            "            self._number -= 1\n"
            "            self._queue.extendleft(reversed(self._under_way.takes))\n"
            "            self._under_way = None\n"
            "\n"
            "    def"
        ),
    ),
    Break(
        "fenced, and it goes on",
        "tally.py",
        "        if epoch == self.epoch:\n            self.acknowledged = None\n",
        "        return\n",
        first=1,
    ),
    Break(
        "changes are told twice",
        "tally.py",
        "        self._void()\n        self._forget_changes()\n",
        "        self._void()\n",
        first=6,
    ),
    Break(
        "what is held is not told",
        "tally.py",
        "run, self.held, *recovery",
        "run, {}, *recovery",
        first=2,
    ),
    Break(
        "a recovery ends before as many gateways as are expected have reported",
        "renew.lua",
        "return groups >= expected",
        "return groups >= math.min(expected, 1)",
        first=373,
    ),
    Break(
        "each worker counts as a gateway",
        "renew.lua",
        "      groups = groups + 1\n    end\n",
        "    end\n    groups = groups + 1\n",
        first=496,
    ),
    Break(
        "a gateway counts while one of its workers is missing",
        "renew.lua",
        "    if workers > 0 then",
        "    if false then",
        first=261,
    ),
    Break(
        "a gateway that died counts beside its successor",
        "renew.lua",
        "if returned ~= current or expects == '0' then",
        "if not returned or expects == '0' then",
        first=945,
    ),
    Break(
        "a gateway that others knew is not waited for",
        "renew.lua",
        "    if kind == 'known' then",
        "    if kind == 'nobody' then",
        first=1,
    ),
    Break(
        "calls are admitted by limits that were replaced",
        "take.lua",
        "if status == OK and #takes > 0 and (call('HGET', CONTROL, 'revision') or '') ~= (revision or '') then",
        "if false then",
        first=3,
    ),
    Break(
        "waiting takes are not planned again",
        "tally.py",
        "                take.plan = self._renew(take.plan)\n",
        "                pass\n",
        first=3,
    ),
    Break(
        "a change replaces one that it was not made from",
        "control.lua",
        "elseif left == 0 and stored == known then",
        "elseif left == 0 then",
        first=3,
    ),
    Break(
        "a store takes changes while it recovers",
        "control.lua",
        "elseif left == 0 and stored == known then",
        "elseif stored == known then",
        first=667,
    ),
    Break(
        "a registration does not bring the control state back",
        "register.lua",
        "\nrestore_control(revision, document, left)\n",
        "\n",
        first=75,
    ),
    Break(
        "an older control state replaces a newer one",
        "recovery.lua",
        "if number > stored_number and (left > 0 or stored == '') then",
        "if left > 0 or stored == '' then",
        first=3,
    ),
    Break(
        "gateways that have not come back yet are forgotten",
        "tally.py",
        "self._known.update(renewed.gateways)",
        "self._known = set(renewed.gateways)",
        first=22,
    ),
)


def find(breakage: Break, seeds: range) -> tuple[int, str] | None:
    """The first seed that sees it, and what it says."""
    core, library = breakage.core(), breakage.library()
    for seed in seeds:
        try:
            run(seed, core, library)
        except Violation as violation:
            return seed, str(violation)
        except Exception as error:  # a broken core may also fail by itself
            return seed, f"seed {seed}: {type(error).__name__}: {error}"
    return None
