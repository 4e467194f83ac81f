"""Holds the result of a run as plain data: written by Locust's process as JSON, read by the runner."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """Counts all responses of one kind. `what` is `200`, a `Reason` or an error; times are milliseconds."""

    kind: str
    what: str
    count: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Sample:
    """Holds one sample of the run. `seconds`: since its start. `admitted` and `refused`: totals until then."""

    seconds: float
    users: int
    in_flight: dict[str, int]
    admitted: int
    refused: dict[str, int]


@dataclass
class Outcome:
    """Holds the result of a run.

    `highest` and `truly_highest`: the most calls in flight, counted by the gateway and by the backend, of each limit in
    `ceilings`. `failures`: unexpected results, with their number. `marks`: moments, in seconds, that the picture marks.
    """

    scenario: str
    lines: list[Line] = field(default_factory=list)
    ceilings: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    truly_highest: dict[str, int] = field(default_factory=dict)
    leaked: int | None = None
    failures: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)

    @property
    def overshoot(self) -> int:
        """Returns the slots in use above a ceiling, at the worst moment and of the worst limit."""
        seen = [(name, count) for counts in (self.highest, self.truly_highest) for name, count in counts.items()]
        return max(0, *(count - self.ceilings[name] for name, count in seen if name in self.ceilings), 0)

    @property
    def is_good(self) -> bool:
        return not self.failures and not self.leaked and not self.overshoot and bool(self.lines)

    def count(self, kind: str) -> int:
        return sum(line.count for line in self.lines if line.kind == kind)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Reads the result. Raises OSError or ValueError without one."""
        document: dict[str, Any] = json.loads(path.read_text())
        lines = [Line(**line) for line in document.pop("lines")]
        samples = [Sample(**sample) for sample in document.pop("samples")]
        return cls(**document, lines=lines, samples=samples)
