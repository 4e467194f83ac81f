"""Counts the accepted events that survive a SIGKILL.

It accepts events that cannot end, kills, restarts in the same folder, lets them end, and counts those that ran.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import calls
from loadtests.bench.compare import Tell
from loadtests.bench.paths import HELD
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Process, Trouble
from loadtests.bench.queue import library, subjects
from loadtests.bench.queue.sending import numbered, send
from loadtests.bench.queue.subjects import Subject
from loadtests.bench.stage import Stage

EVENTS = 200
SLOTS = 10
CONNECTIONS = 4
# The functions that can begin have begun after this; whoever is killed is killed with some of them running.
BEGIN_SECONDS = 1.0
# Nothing has run for so long: nothing more will. Longer than any pause between two attempts of those that try again.
QUIET_SECONDS = 4.0
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Kept:
    """Holds the result. `ran`: the accepted events that ran after the restart, each counted once."""

    name: str
    accepted: int = 0
    ran: int = 0
    problem: str = ""

    @property
    def word(self) -> str:
        if self.problem:
            return ""
        return "yes" if self.accepted and self.ran == self.accepted else "no"


def run(gateway: Peer, only: Sequence[str], tell: Tell) -> list[Kept]:
    """Tests every subject in turn. Raises Trouble when the backend does not start."""
    tries: dict[str, Callable[[Stage, str], Kept]] = {"gateway": lambda stage, name: _gateway(stage, name, gateway)}
    for subject in (subjects.MINISTACK, subjects.SERVERLESS):
        tries[subject.name] = _peer(subject)
    for way in library.WAYS:
        if not way.is_consumed:
            tries[way.name] = _library(way)
    found = []
    with Stage(HELD, SLOTS) as stage:
        for name, attempt in tries.items():
            if only and not any(word.lower() in name.lower() for word in only):
                continue
            tell(f"kill -9: {name}")
            try:
                found.append(attempt(stage, name))
            except Trouble as trouble:
                found.append(Kept(name, problem=str(trouble)))
    return found


def count_until_quiet(count: Callable[[], int], wanted: int, quiet_seconds: float, sleep: float = 0.1) -> int:
    """Returns the count when it is as wanted, or has not changed for so long."""
    found, changed, began = count(), time.monotonic(), time.monotonic()
    while found < wanted and time.monotonic() - changed < quiet_seconds and time.monotonic() - began < PATIENCE_SECONDS:
        time.sleep(sleep)
        if (now := count()) != found:
            found, changed = now, time.monotonic()
    return found


def numbers(ran: Path) -> set[str]:
    """Returns the events that have written their number."""
    return set(ran.read_text().split()) if ran.exists() else set()


def _gateway(stage: Stage, name: str, peer: Peer) -> Kept:
    place = stage.place(name)
    started = subjects.start_gateway(stage, place, peer)
    sent = send(place.port, started.request(numbered(), "hold"), EVENTS, CONNECTIONS)
    time.sleep(BEGIN_SECONDS)
    if not stage.backend_state()["running"]:
        raise Trouble("no function had begun before the kill")
    stage.processes.kill(started.process)
    time.sleep(0.2)  # the backend has seen the connections end
    calls.get_json(stage.backend.admin, "/forget")
    started = subjects.start_gateway(stage, place, peer)
    try:

        def count() -> int:
            stage.release()
            return stage.backend_state()["distinct"]

        return Kept(name, sent.accepted, count_until_quiet(count, sent.accepted, QUIET_SECONDS))
    finally:
        stage.processes.kill(started.process)


def _peer(subject: Subject) -> Callable[[Stage, str], Kept]:
    def attempt(stage: Stage, name: str) -> Kept:
        place = stage.place(name)
        started = subject.start(stage, place)
        sent = send(place.port, started.request(numbered()), EVENTS, CONNECTIONS)
        time.sleep(BEGIN_SECONDS)
        stage.processes.kill(started.process)
        return Kept(
            name, sent.accepted, _ran_after(place.directory, lambda: subject.start(stage, place).process, stage)
        )

    return attempt


def _library(way: library.Way) -> Callable[[Stage, str], Kept]:
    def attempt(stage: Stage, name: str) -> Kept:
        folder = stage.place(name).directory
        consumer = library.start_consumer(stage.processes, folder, way)
        accepted = library.ask(stage.processes, folder, way, "send", EVENTS)["accepted"]
        time.sleep(BEGIN_SECONDS)
        stage.processes.kill(consumer)
        return Kept(
            name, accepted, _ran_after(folder, lambda: library.start_consumer(stage.processes, folder, way), stage)
        )

    return attempt


def _ran_after(folder: Path, start: Callable[[], Process], stage: Stage) -> int:
    """Lets the functions end, restarts, and counts."""
    if numbers(folder / "ran"):
        raise Trouble("a function ended before it was allowed to")
    (folder / "gate").touch()
    process = start()
    try:
        return count_until_quiet(lambda: len(numbers(folder / "ran")), EVENTS, QUIET_SECONDS)
    finally:
        stage.processes.kill(process)
