"""The times of calls are compared at one rate: half of what the gateway reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.goals import latency
from loadtests.bench.goals.latency import BARE, Steady
from loadtests.bench.goals.paced import Pace, Paced
from loadtests.bench.peers import GATEWAY, PEERS
from loadtests.bench.processes import Trouble
from loadtests.bench.stage import Running
from tests.support.tools import NGINX

PEAK = 1_000.0
SECONDS = 0.1


def steady(name: str, *p99_ms: float, problem: str = "") -> Steady:
    return Steady(name, [Paced(100, 0, 50.0, 1.0, one, 0.1) for one in p99_ms], problem)


def test_the_ratio_is_that_of_the_medians() -> None:
    rows = [steady(GATEWAY, 3.0, 9.0, 2.0), steady("nginx", 2.0)]
    assert latency.ratio(rows, GATEWAY) == 1.5
    assert latency.ratio([rows[0], steady("nginx", 2.0, problem="3 of 100 calls failed")], GATEWAY) is None


def test_a_client_that_fails_gives_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="No such file"):
        latency.send(Pace(1, str(tmp_path / "missing"), 10, 0.1))


def test_all_are_loaded_at_half_the_peak_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nginx stand for gateway and nginx; wrk's part, the peak, is given. The client is the real one."""
    NGINX.require()
    nginx = next(peer for peer in PEERS if peer.name == "nginx")
    peaks = iter([PEAK, 50 * PEAK])

    def peak(running: Running) -> float:
        return next(peaks)

    rates = []

    def send(pace: Pace) -> Any:
        rates.append(pace.rate)
        return actual(replace(pace, connections=10))

    actual = latency.send
    monkeypatch.setattr(latency, "_peak", peak)
    monkeypatch.setattr(latency, "send", send)
    rows = latency.run([replace(nginx, name=GATEWAY), nginx], 1, SECONDS, lambda text: None)
    assert [(row.name, row.problem) for row in rows] == [(GATEWAY, ""), ("nginx", ""), (BARE, "")]
    assert rates == [PEAK / 2] * 3
    assert all(row.samples[0].sent >= PEAK / 2 * SECONDS and row.samples[0].failed == 0 for row in rows)
    assert latency.ratio(rows, GATEWAY)
    assert [row[0] for row in latency.table(rows).rows] == [GATEWAY, "nginx", BARE]
