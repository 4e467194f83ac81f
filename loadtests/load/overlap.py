"""Reads the true number of calls that ran at once, from the demo backend's `x-demo-running`.

A gateway that counts wrong may still report that all is well. The backend counts every admitted call, within the time
for which the gateway must have a slot for it. So one call above a ceiling is proof.
"""

from __future__ import annotations

from collections import Counter

from loadtests.load.judging import Ceilings

HEADER = "x-demo-running"


def read_running(text: str) -> dict[str, int]:
    """Reads the counts in a header such as `all=7, sleep-checkout=3, echo=4`. Raises ValueError for another text."""
    pairs = (part.strip().rpartition("=") for part in text.split(","))
    return {name: int(count) for name, _, count in pairs}


def running_by_counter(running: dict[str, int], ceilings: Ceilings) -> dict[str, int]:
    """Counts the calls that each limit admitted, by the names of `Ceilings.by_counter`.

    The pool's number is left out if the header does not name every running function.
    """
    functions = {name: count for name, count in running.items() if name != "all"}
    counts = {name: count for name, count in functions.items() if name in ceilings.reserved}
    counts["account"] = running["all"]
    if sum(functions.values()) == running["all"]:
        counts["unreserved"] = running["all"] - sum(functions[name] for name in functions if name in ceilings.reserved)
    return counts


class Highest:
    """Holds the highest count of each limit."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def see(self, counts: dict[str, int], ceilings: Ceilings, blamed: str | None = None) -> str | None:
        """Records the counts, and returns those above their ceiling, in words. With `blamed`, only that function's
        limits."""
        too_many: list[str] = []
        limits = ceilings.by_counter()
        if blamed is not None:
            own = {"account", blamed if blamed in ceilings.reserved else "unreserved"}
            limits = {name: ceiling for name, ceiling in limits.items() if name in own}
        for name, count in counts.items():
            if count > self.seen[name]:
                self.seen[name] = count
            if count > limits.get(name, count):
                too_many.append(f"{count} of {limits[name]} ({name})")
        return f"above the limit: {', '.join(too_many)} ran at once" if too_many else None
