"""Measures huey with its SQLite storage: a library that enqueues in the caller's own process, without HTTP."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.bench import machine
from loadtests.bench.processes import Process, Processes, Trouble
from loadtests.bench.queue.sending import Sent
from loadtests.bench.stage import Stage

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Way:
    """`fsync` is its option: default, on or off."""

    name: str
    fsync: str
    is_consumed: bool
    about: str

    @property
    def subject(self) -> str:
        """Returns its name without the consumer."""
        return self.name.removesuffix(", consumed")


WAYS = (
    Way("huey, default", "default", False, "a library call, no HTTP; SQLite's own default"),
    Way("huey, fsync=True", "on", False, "the same"),
    Way("huey, fsync=False", "off", False, "the same; a power cut may lose it"),
    Way("huey, default, consumed", "default", True, "the same; a consumer of 4 threads meanwhile, its CPU time too"),
)


def command(folder: Path, way: Way, *what: object) -> list[str]:
    return [sys.executable, "-m", "loadtests.bench.queue.tasks", str(folder), way.fsync, *map(str, what)]


def flood(stage: Stage, name: str, way: Way, clients: int, seconds: float) -> tuple[Sent, float]:
    """Enqueues from so many threads, and returns the count and the CPU seconds, with the consumer's, if any. Raises
    Trouble."""
    folder = stage.place(name).directory
    consumer = start_consumer(stage.processes, folder, way) if way.is_consumed else None
    try:
        before = consumer.cpu_seconds() if consumer else 0.0
        told = ask(stage.processes, folder, way, "flood", clients, seconds)
        spent = told["cpu_seconds"] + (consumer.cpu_seconds() - before if consumer else 0.0)
    finally:
        if consumer:
            stage.processes.kill(consumer)
    sent = Sent(
        accepted=told["accepted"],
        failed=told["failed"],
        seconds=told["seconds"],
        trouble=f"{told['failed']} failed: {told['trouble']}" if told["failed"] else "",
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
    )
    return sent, spent


def ask(processes: Processes, folder: Path, way: Way, *what: object) -> dict[str, Any]:
    """Runs the process to its end, and returns its output. Raises Trouble."""
    place = folder / "asked"
    place.mkdir(exist_ok=True)
    process = processes.start("huey", command(folder, way, *what), place, core=machine.PROXY_CORE)
    process.popen.wait(PATIENCE_SECONDS)
    text = process.log.read_text()
    if process.popen.returncode:
        raise Trouble(f"huey: {text.strip()[-200:]}")
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def start_consumer(processes: Processes, folder: Path, way: Way) -> Process:
    """Starts the consumer; it takes tasks when this returns. Raises Trouble."""
    process = processes.start("huey's consumer", command(folder, way, "consume"), folder, core=machine.PROXY_CORE)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"Huey consumer started" not in process.log.read_bytes():
        process.check()
        if time.monotonic() > deadline:
            raise Trouble("huey's consumer did not start")
        time.sleep(0.02)
    return process
