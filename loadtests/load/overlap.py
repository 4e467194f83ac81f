"""The truth about how many calls ran at once, as the demo backend tells it in `x-demo-running`.

A gateway that counts wrong may still report that all is well. The backend sees every call that was really let through,
and counts it within the time for which the gateway must have a slot for it; so one call above a ceiling is proof.
"""

from __future__ import annotations

from collections import Counter

from loadtests.load.judging import Ceilings

HEADER = "x-demo-running"


def read_running(text: str) -> dict[str, int]:
    """The counts in a header such as `all=7, sleep-checkout=3, echo=4`. Raises ValueError when it is none."""
    pairs = (part.strip().rpartition("=") for part in text.split(","))
    return {name: int(count) for name, _, count in pairs}


def running_by_counter(running: dict[str, int], ceilings: Ceilings) -> dict[str, int]:
    """How many calls each of the limits let through, by the names of `Ceilings.by_counter`.

    The pool's number is left out where the header does not name every function that ran.
    """
    functions = {name: count for name, count in running.items() if name != "all"}
    counts = {name: count for name, count in functions.items() if name in ceilings.reserved}
    counts["account"] = running["all"]
    if sum(functions.values()) == running["all"]:
        counts["unreserved"] = running["all"] - sum(functions[name] for name in functions if name in ceilings.reserved)
    return counts


class Highest:
    """The highest count seen of each limit."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def see(self, counts: dict[str, int], ceilings: Ceilings, blamed: str | None = None) -> str | None:
        """Note them; what is above its ceiling, in words. With a function to be `blamed`: of its own limits only."""
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
