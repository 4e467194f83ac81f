"""Lists the tables of a verdict on calls."""

from __future__ import annotations

from collections.abc import Iterable

from ..faults.fault import InjectedFault
from .tables import VerdictTable, faults_table, limits_table, timeline_table
from .verdict import CallsVerdict


def list_tables(verdict: CallsVerdict) -> list[VerdictTable]:
    """Lists what a terminal shows: of each kind of fault only the worst."""
    if not verdict.is_shared:
        return [limits_table(verdict)]
    worst = verdict.worst_faults
    return [limits_table(verdict), faults_table(worst), *list_timelines(worst)]


def list_timelines(faults: Iterable[tuple[int, InjectedFault]]) -> list[VerdictTable]:
    return [
        timeline_table(fault.timeline, f"{fault.name}, seed {seed}, second by second")
        for seed, fault in faults
        if fault.timeline
    ]
