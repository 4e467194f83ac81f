"""Two workers on two cores are compared with one on one core by the cores that were available to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench import calls, machine
from loadtests.bench.goals import cores
from loadtests.bench.goals.cores import CoreSample, Crew
from loadtests.bench.peers import PEERS, Place, gateway, with_workers
from loadtests.bench.processes import Trouble
from tests.support.tools import NGINX

NGINX_PEER = next(peer for peer in PEERS if peer.name == "nginx")
CALLS = 50


def sample(per_second: float, available: float) -> CoreSample:
    return CoreSample(per_second, 50.0, available, 0)


def test_the_part_of_a_core_that_the_load_took_does_not_count() -> None:
    one = Crew("gateway", 1, [sample(10_000, 1.0)])
    two = Crew("gateway", 2, [sample(15_000, 1.5), sample(16_200, 1.8), sample(11_000, 1.1)])
    assert two.at_full == 20_000
    assert cores.ratio([one, two], "gateway") == 2.0


def test_a_core_that_a_proxy_leaves_idle_counts() -> None:
    one, two = Crew("gateway", 1, [sample(10_000, 1.0)]), Crew("gateway", 2, [sample(10_000, 2.0)])
    assert cores.ratio([one, two], "gateway") == 1.0


def test_a_proxy_that_failed_has_no_ratio_and_its_reason_in_the_table() -> None:
    crews = [Crew("gateway", 1, [sample(10_000, 1.0)]), Crew("gateway", 2, problem="missing (make run)")]
    assert cores.ratio(crews, "gateway") is None
    assert cores.table(crews).rows[1][-1] == "missing (make run)"


def test_each_proxy_has_its_workers(tmp_path: Path) -> None:
    place = Place(tmp_path, backend=1, limit=5, workers=2)
    command = with_workers(gateway(), 2).command(Path("invoke-gateway"), place)
    assert command[-1] == "--workers=2"
    assert not [part for part in with_workers(gateway(), 1).arguments if "workers" in part]
    with_workers(NGINX_PEER, 2).command(Path("nginx"), place)
    assert "worker_processes 2;" in (tmp_path / "nginx.conf").read_text()
    envoy = next(peer for peer in PEERS if peer.name == "Envoy")
    assert with_workers(envoy, 2).command(Path("envoy"), place)[1:3] == ["--concurrency", "2"]


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CORES", [0])
    with pytest.raises(Trouble, match="2 workers need 2 cores"):
        cores.run([], 1, 1, print)


def test_a_run_loads_one_worker_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few calls stand for wrk's; nginx stands for all proxies."""
    NGINX.require()
    if len(machine.proxy_cores(2)) < 2:
        pytest.skip("this machine has one core")
    used = []

    def load(script: str, port: int, connections: int, seconds: float, request: Path, *more: Any, **named: Any) -> Any:
        used.append(named["cores"])
        answers = [calls.ask(port, request.read_bytes()) for _ in range(CALLS)]
        failed = sum(answer.status != 200 for answer in answers)
        return {"requests": CALLS, "failed": failed, "broken": 0, "seconds": 1.0}

    monkeypatch.setattr(cores, "wrk", load)
    missing = replace(NGINX_PEER, name="other", binary="no-such-program", install="from nowhere")
    found = cores.run([NGINX_PEER, missing], 1, 1, lambda text: None)
    assert [(crew.peer, crew.workers, crew.problem) for crew in found] == [
        ("nginx", 1, ""),
        ("nginx", 2, ""),
        ("other", 1, "missing (from nowhere)"),
        ("other", 2, "missing (from nowhere)"),
    ]
    assert all(one.per_second == CALLS and one.available >= 0 for crew in found for one in crew.samples)
    assert [len(crew.samples) for crew in found] == [1, 1, 0, 0]
    spare = machine.spare_cores(2)
    assert set(used) == {spare or machine.proxy_cores(1), spare or machine.proxy_cores(2)}
