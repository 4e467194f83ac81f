"""The scenarios as a whole: what there is, that each file can be used alone, and one of them run to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import eventstream
from loadtests.load.scenarios import SCENARIOS, choose
from loadtests.load.stage import ROOT, run_scenario
from loadtests.load.streaming import plan_stream

FOLDER = ROOT / "loadtests"


def test_every_locustfile_is_a_scenario_of_the_runner() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")}
    assert files == {scenario.name for scenario in SCENARIOS}


def test_scenarios_are_chosen_by_name_and_a_wrong_name_is_told_the_right_ones() -> None:
    assert [scenario.name for scenario in choose(("ramp", "burst"))] == ["ramp", "burst"]
    assert choose(()) == list(SCENARIOS)
    with pytest.raises(ValueError, match="no scenario is called rampe: there are steady, burst"):
        choose(("rampe",))


@pytest.mark.parametrize("size", [20_971_520, 20_971_521, 209_715_200, 209_715_201])
def test_a_streamed_response_can_be_made_of_exactly_so_many_bytes(size: int) -> None:
    chunks, each = plan_stream(size)
    chunk = len(eventstream.encode(eventstream.PAYLOAD_CHUNK, bytes(each), "application/octet-stream"))
    complete = len(eventstream.encode(eventstream.INVOKE_COMPLETE, b"{}", "application/json"))
    assert chunks * chunk + complete == size


def test_a_size_that_no_chunks_make_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="choose another quota"):
        plan_stream(10)


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_each_file_alone_tells_its_options(name: str) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER / f"{name}.py"), "--help-all"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    of_all, of_the_file = found.stdout.partition("The gateway:")[2].split("\n\n")[:2]
    assert "--operations HOST:PORT" in of_all
    assert of_the_file.count("  --") >= 2, "the file has options of its own"


def test_a_burst_against_a_real_gateway_stays_within_its_limits_and_is_reported(tmp_path: Path) -> None:
    burst = choose(("burst",))[0]
    outcome = run_scenario(burst, tmp_path, None, 4, lambda seconds: None)
    assert outcome.failures == {}
    assert outcome.is_good
    assert (outcome.overshoot, outcome.leaked) == (0, 0)
    assert outcome.ceilings == {"account": 20, "unreserved": 12, "sleep-checkout": 8}
    assert outcome.truly_highest == outcome.ceilings, "sixty callers did not fill twenty slots"
    assert {line.what for line in outcome.lines} == {
        "200",
        "ConcurrentInvocationLimitExceeded",
        "ReservedFunctionConcurrentInvocationLimitExceeded",
    }
    assert len(outcome.samples) > 10
    report = (tmp_path / "burst.html").read_text()
    assert "sleep-checkout 429 ReservedFunctionConcurrentInvocationLimitExceeded" in report
