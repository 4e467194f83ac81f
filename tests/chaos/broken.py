"""Break a rule of the gateway on purpose and see that `prove` sees it: `python -m tests.chaos.broken [NAME ...]`.

Each break is an edit of a copy of the package. `prove` is run from that copy, so the gateways that it starts are broken
and its own code, which no break touches, is not. It must exit with 1 and name the line that is expected.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.report.verdict import FAILED

PACKAGE = Path(__file__).parents[2] / "gateway" / "invoke_gateway"
SEED = 7
TIMEOUT_SECONDS = 180.0
SHARED = "--gateways 2 --redis spawn --lease 2"
SHARED_FOR_LONGER = "--gateways 2 --redis spawn --lease 4"  # what lasts for a part of a lease lasts longer

TAKE, PRELUDE, PRUNING, RENEW = (
    f"counters/shared/scripts/{name}.lua" for name in ("take", "prelude", "pruning", "renew")
)
MEMORY, SHARED_COUNTERS = "counters/local_slots.py", "counters/shared/counters.py"
LIMITS, CONCURRENCY = "policy/limits.py", "policy/concurrency.py"
CALLER_LIMITS = "policy/caller_limits.py"
SUPERVISOR = "workers/supervisor.py"
DISPATCHER, SETTLING, SQLITE = "queue/dispatcher.py", "queue/outcomes/settlement.py", "queue/sqlite/store.py"
EVENTS = "--events 1500 --fault-count 4"


class Edit(NamedTuple):
    """Text of a file of the package that is there exactly once, and what takes its place."""

    path: str
    old: str
    new: str


class Break(NamedTuple):
    """`options`: with which `prove` sees it; `faults`: one of which it must name."""

    edits: Sequence[Edit]
    options: str
    violations: Sequence[Violation]


_TAKE_OVER = """        for lane in waiting:
            self.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)
        return"""
_AFTER_NOTHING = "if at ~= epoch .. ':' .. (number - 1) then"
_FENCED_RENEWAL = "if tonumber(known_epoch) ~= epoch or tonumber(known_number) < number then"

BREAKS = {
    ">= is > in the store's script": Break(
        [Edit(TAKE, "ceiling = lane[i + 1]\n", "ceiling = lane[i + 1] < 0 and -1 or lane[i + 1] + 1\n")],
        f"{SHARED} --faults slow",
        [Violation.OVERSHOOT],
    ),
    ">= is > in memory": Break(
        [Edit(MEMORY, "if in_use >= ceiling:", "if in_use > ceiling:")],
        "",
        [Violation.OVERSHOOT],
    ),
    "no fence: what cannot be placed is applied": Break(
        [Edit(TAKE, _AFTER_NOTHING, "if false then"), Edit(RENEW, _FENCED_RENEWAL, "if false then")],
        f"{SHARED} --faults flushed,cut-off,stopped",
        [Violation.OVERSHOOT],
    ),
    "no numbers: a batch sent again is applied again": Break(
        [
            Edit(TAKE, "if at == epoch .. ':' .. number then", "if false then"),
            Edit(TAKE, _AFTER_NOTHING, f"{_AFTER_NOTHING[:-5]} and at ~= epoch .. ':' .. number then"),
        ],
        f"{SHARED_FOR_LONGER} --faults replies-lost,reset",
        [Violation.OVERSHOOT, Violation.MISSING],
    ),
    "no healing: a dead gateway keeps its slots": Break(
        [Edit(PRUNING, "if #ended > 0 then", "if false then")],
        f"{SHARED} --faults killed",
        [Violation.NOT_HEALED],
    ),
    "no refill: an empty store admits at once": Break(
        [
            Edit(PRELUDE, "'refill', now + lease)\n    return lease", "'refill', now)\n    return 0"),
        ],
        f"{SHARED} --faults flushed-meanwhile,restarted",
        [Violation.OVERSHOOT],
    ),
    "no waiting for the time-out: reclaim_after counts for nothing": Break(
        [Edit(SHARED_COUNTERS, "int(config.keep_seconds * 1000)", "0")],
        f"{SHARED} --faults killed --reclaim-after timeout",
        [Violation.GIVEN_AWAY],
    ),
    "no giving back: a dead worker's slots wait for its lease": Break(
        [
            Edit(
                SUPERVISOR,
                "            await reclaim_slots(worker.name, self.workers.serving())\n",
                "            pass\n",
            )
        ],
        f"{SHARED_FOR_LONGER} --workers 2 --faults worker-killed",
        [Violation.NOT_HEALED],
    ),
    "provisioned slots are not counted in the account": Break(
        [
            Edit(
                LIMITS,
                "self.unreserved_concurrent_executions)\n        rules = ",
                "self.unreserved_concurrent_executions + self.unreserved_provisioned)\n        rules = ",
            )
        ],
        "",
        [Violation.OVERSHOOT],
    ),
    "idle provisioned slots are lent: on demand there is the whole reservation": Break(
        [Edit(CONCURRENCY, "slots = max(0, reserved - provisioned)", "slots = reserved")],
        "",
        [Violation.OVERSHOOT],
    ),
    "spill-over takes the pool twice: a provisioned call has a slot of the pool as well": Break(
        [
            Edit(
                LIMITS,
                "first = provisioned_lane(counter, version.allocated, reserved, account)",
                "first = provisioned_lane(counter, version.allocated, reserved, account)\n"
                f"{' ' * 20}first = replace(first, claims=(*first.claims, on_demand_count(self.pool_counter)))",
            )
        ],
        "",
        [Violation.WAS_FREE],
    ),
    "no spill-over: a version whose provisioned slots are in use is refused": Break(
        [Edit(LIMITS, "chain = (first, *self._rules[name].lanes)", "chain = (first,)")],
        "",
        [Violation.WAS_FREE, Violation.MISSING],
    ),
    "the caller's claim is left out": Break(
        [Edit(CALLER_LIMITS, "claims=(*lane.claims, *rule.claims)", "claims=lane.claims")],
        "",
        [Violation.OVERSHOOT],
    ),
    "the caller's claim is left out of what the store counts": Break(
        [Edit(CALLER_LIMITS, "Claim(counter, slots, Refusal.CONCURRENCY", "Claim(counter, None, Refusal.CONCURRENCY")],
        f"{SHARED} --faults slow",
        [Violation.OVERSHOOT],
    ),
    "a call is admitted by limits that were replaced before": Break(
        [Edit(TAKE, "~= (revision or '') then", "== 'never' then")],
        f"{SHARED} --faults slow",
        [Violation.OVERSHOOT],
    ),
    "202 before the commit: events are answered, and written together soon after": Break(
        [
            Edit("queue/sqlite/journal.py", "call_soon(self._flush)", "call_later(0.05, self._flush)"),
            Edit(SQLITE, "await self._enqueue(event, is_claimed=False)", "self._enqueue(event, is_claimed=False)"),
            Edit(SQLITE, "await self._enqueue(event, is_claimed=True)", "self._enqueue(event, is_claimed=True)"),
        ],
        EVENTS,
        [Violation.LOST],
    ),
    "finished before the run: an event is taken out of the queue, then run": Break(
        [
            Edit(
                DISPATCHER,
                "                result = await self._runner.run(",
                "                await self.store.ack(event)\n                result = await self._runner.run(",
            ),
        ],
        EVENTS,
        [Violation.LOST],
    ),
    "no take-over: what the last gateway left is not looked at": Break(
        [Edit(DISPATCHER, _TAKE_OVER, _TAKE_OVER.replace("for lane in waiting", "for lane in []"))],
        EVENTS,
        [Violation.LOST],
    ),
    "no drain: an event that runs at the end runs again": Break(
        [Edit(DISPATCHER, "while self.tasks and (left", "while False and (left")],
        EVENTS,
        [Violation.AGAIN],
    ),
    "no delay: an event that failed is run again at once": Break(
        [Edit(SETTLING, "event.due_at = self._now() + seconds", "event.due_at = self._now()")],
        EVENTS,
        [Violation.TOO_SOON],
    ),
    "no dead letters: an event that cannot run is dropped": Break(
        [
            Edit(
                SETTLING,
                ".targets.of(condition)\n        event.outcome",
                ".targets.of(condition)[:0]\n        event.outcome",
            )
        ],
        EVENTS,
        [Violation.UNTOLD],
    ),
}


class Outcome(NamedTuple):
    """`seen`: how often `prove` counted what."""

    status: int
    seen: dict[Violation, int]
    seconds: float
    said: str

    def is_caught(self, broken: Break) -> bool:
        return self.status == FAILED and any(self.seen.get(violation) for violation in broken.violations)


def copy_broken(edits: Sequence[Edit], folder: Path) -> None:
    """A copy of the package with these edits. Raises ValueError for an edit that no longer applies."""
    shutil.copytree(PACKAGE, folder / "invoke_gateway", ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = folder / "invoke_gateway" / edit.path
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise ValueError(f"{edit.path} has {text.count(edit.old)} times {edit.old!r}: bring the break up to date")
        path.write_text(text.replace(edit.old, edit.new))


def run_broken(broken: Break) -> Outcome:
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="invoke-gateway-broken-") as name:
        folder = Path(name)
        copy_broken(broken.edits, folder)
        command = [
            sys.executable,
            "-m",
            "invoke_gateway",
            "prove",
            "--seed",
            str(SEED),
            "--json",
            *broken.options.split(),
        ]
        ran = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    violations = json.loads(ran.stdout)["violations"] if ran.stdout else {}
    seen = {Violation[name.upper()]: count for name, count in violations.items() if count}
    return Outcome(ran.returncode, seen, monotonic() - began, ran.stderr)


def main(wanted: Sequence[str]) -> int:
    """0 when every break was seen."""
    chosen = {name: broken for name, broken in BREAKS.items() if not wanted or any(word in name for word in wanted)}
    table = Table("broken on purpose", "exit", "seconds", "what prove said", "seen", box=SIMPLE_HEAD)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 150)
    missed = not chosen
    for name, broken in chosen.items():
        outcome = run_broken(broken)
        is_caught = outcome.is_caught(broken)
        missed = missed or not is_caught
        said = ", ".join(f"{count} {violation.value}" for violation, count in outcome.seen.items()) or "nothing wrong"
        print(
            f"{name}: prove{' ' * bool(broken.options)}{broken.options} exits with {outcome.status}: {said}", flush=True
        )
        if not is_caught:
            print(outcome.said)
        table.add_row(name, str(outcome.status), f"{outcome.seconds:.0f}", said, "yes" if is_caught else "NO")
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
