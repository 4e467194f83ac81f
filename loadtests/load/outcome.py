"""How a run ended, as plain data: written by Locust's process as JSON, read by the runner."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """All answers of one kind: `what` is `200`, a `Reason` or an error; times are milliseconds."""

    kind: str
    what: str
    count: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Sample:
    """One look during the run. `seconds` since its start; `admitted` and `refused` are totals until then."""

    seconds: float
    users: int
    in_flight: dict[str, int]
    admitted: int
    refused: dict[str, int]


@dataclass
class Outcome:
    """`highest` and `truly_highest`: in flight at most, by the gateway's word and by the backend's, of each limit in
    `ceilings`. `failures`: what was unexpected, with how often. `marks`: moments, in seconds, that the picture points
    out."""

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
        """Slots in use above a ceiling, at the worst moment and of the worst limit."""
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
        """Raises OSError or ValueError where none was written."""
        document: dict[str, Any] = json.loads(path.read_text())
        lines = [Line(**line) for line in document.pop("lines")]
        samples = [Sample(**sample) for sample in document.pop("samples")]
        return cls(**document, lines=lines, samples=samples)
