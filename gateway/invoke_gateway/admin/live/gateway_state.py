"""Describes the gateway itself: version, backend, degraded causes, queue, holds, fault scripts, workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from time import time
from typing import Any

from ...policy.fault_script import FaultScript, FaultScripts
from ..fault_scripts import describe_step
from ..problems import describe_problems
from ..readiness import BackendView
from .queue_watch import QueueWatch

MOST_HOLDS = 20
MOST_SCRIPTS = 20
_MOST_STEPS = 3


class GatewayState:
    """Makes the members of the live document that are about the gateway itself.

    backend_url: the origin of the backend, as the settings have it
    backend: the observed state of the backend
    degraded: for each cause, whether the gateway is degraded by it
    name: the name of this gateway at the store of shared counters; None without one
    describe_holds: returns the holds as documents
    fault_scripts: None where fault scripts are off
    queue: None where events go to the backend
    describe_workers: returns the workers as documents; None in one process
    describe_causes: returns what is known of single causes beyond their texts
    """

    def __init__(
        self,
        *,
        version: str,
        backend_url: str,
        backend: BackendView,
        degraded: Mapping[str, bool],
        name: str | None,
        describe_holds: Callable[[], list[dict[str, Any]]],
        fault_scripts: FaultScripts | None,
        queue: QueueWatch | None,
        describe_workers: Callable[[], list[dict[str, object]] | None] = lambda: None,
        describe_causes: Callable[[], Mapping[str, str | None]] = dict,
        now: Callable[[], float] = time,
    ) -> None:
        self._facts = {"version": version, "name": name, "backend_url": backend_url, "started_at": round(now(), 3)}
        self._backend = backend
        self._degraded = degraded
        self._describe_holds = describe_holds
        self._fault_scripts = fault_scripts
        self._queue = queue
        self._describe_workers = describe_workers
        self._describe_causes = describe_causes

    def describe(self) -> dict[str, object]:
        """Returns the members of docs/guides/live-page.md."""
        holds = self._describe_holds()
        scripts = self._list_scripts()
        return {
            "gateway": {**self._facts, **self._backend.describe()},
            "problems": self._describe_problems(),
            "queue": None if self._queue is None else self._queue.document,
            "holds": [{**hold, "seconds_left": round(hold["seconds_left"])} for hold in holds[:MOST_HOLDS]],
            "holds_left_out": max(0, len(holds) - MOST_HOLDS),
            "fault_scripts": None
            if scripts is None
            else [_describe_script(script) for script in scripts[:MOST_SCRIPTS]],
            "fault_scripts_left_out": max(0, len(scripts or ()) - MOST_SCRIPTS),
            "workers": _round_seconds(self._describe_workers()),
        }

    def _describe_problems(self) -> list[dict[str, object]]:
        """Describes what is wrong, as /status does."""
        causes = [cause for cause, is_so in self._find_causes().items() if is_so]
        backend = self._backend.describe()
        if backend["backend"] == "down":
            causes.append("backend_down")
        document = self._queue.document if self._queue is not None else None
        trouble = document["trouble"] if document is not None else None
        details = {
            **self._describe_causes(),
            "backend_down": str(backend.get("backend_error") or ""),
            "event_store": str(trouble) if trouble else None,
        }
        return describe_problems(causes, details)

    def _find_causes(self) -> dict[str, bool]:
        """Returns the causes of `degraded`; those of the queue as it was just read, not scraped."""
        document = self._queue.document if self._queue is not None else None
        if document is None:
            return dict(self._degraded)
        of_queue = {"event_store": document["trouble"] is not None, "events_held": bool(document.get("held"))}
        return {**self._degraded, **of_queue}

    def _list_scripts(self) -> list[FaultScript] | None:
        """Returns the scripts that go on; None where fault scripts are off."""
        if self._fault_scripts is None:
            return None
        return [script for script in self._fault_scripts.all() if not script.is_over]


def _round_seconds(workers: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Rounds times, so that the document changes once a second at most."""
    names = ("serving_seconds", "silent_seconds")
    return workers and [
        worker | {name: int(worker[name]) for name in names if worker[name] is not None} for worker in workers
    ]


def _describe_script(script: FaultScript) -> dict[str, object]:
    """Describes a script that goes on, with its next steps."""
    next_at = (script.position or 1) - 1
    return {
        "id": script.id,
        "account": script.account,
        "function": script.function,
        "calls": script.calls,
        "injected": script.injected,
        "position": script.position,
        "steps": len(script.steps),
        "loop": script.loop,
        "next": [describe_step(step) for step in islice(script.steps, next_at, next_at + _MOST_STEPS)],
    }
