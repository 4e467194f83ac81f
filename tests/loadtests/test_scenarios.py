"""The scenarios as a whole: what there is, that each file can be used alone, and one of them run to its end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from invoke_gateway import eventstream
from loadtests.load.outcome import Outcome
from loadtests.load.scenarios import SCENARIOS, choose
from loadtests.load.stage import ROOT, Target, run_scenario
from loadtests.load.streaming import plan_stream

FOLDER = ROOT / "loadtests"
HELP = """
import os, sys
from pathlib import Path
sys.path.insert(0, "")
from locust.main import main

files, printed, *names = sys.argv[1:]
for name in names:
    if not (child := os.fork()):
        with Path(printed, name).open("w") as sys.stdout:
            sys.argv = ["locust", "-f", f"{files}/{name}.py", "--help-all"]
            main()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{name} failed")
"""
LENGTHS = (4, 20, 60)  # seconds of a run: on a busy machine hardly a call is answered in the first ones


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


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `locust -f FILE --help-all` prints for each scenario, in a process forked after the import of Locust."""
    folder = tmp_path_factory.mktemp("helps")
    names = [scenario.name for scenario in SCENARIOS]
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(FOLDER), str(folder), *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {name: (folder / name).read_text() for name in names}


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_each_file_alone_tells_its_options(name: str, helps: dict[str, str]) -> None:
    of_all, of_the_file = helps[name].partition("The gateway:")[2].split("\n\n")[:2]
    assert "--admin HOST:PORT" in of_all
    assert of_the_file.count("  --") >= 2, "the file has options of its own"


def test_a_burst_against_a_real_gateway_stays_within_its_limits_and_is_reported(tmp_path: Path) -> None:
    burst = choose(("burst",))[0]
    for length in LENGTHS:
        outcome = run_scenario(burst, tmp_path, None, length, lambda seconds: None)
        if outcome.truly_highest == outcome.ceilings and len(outcome.lines) == 3:
            break
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
    assert len(outcome.samples) > 1
    report = (tmp_path / "burst.html").read_text()
    assert "sleep-checkout 429 ReservedFunctionConcurrentInvocationLimitExceeded" in report


class LyingGateway(BaseHTTPRequestHandler):
    """Says that nothing is in flight and all is free, and lets every call through to a backend that sees too many."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        account = {
            "concurrent_executions": 2,
            "in_flight": 0,
            "unreserved": {"ceiling": 1, "in_flight": 0},
            "functions": [{"function": "sleep-checkout", "in_flight": 0, "ceiling": 1, "reserved": True}],
        }
        self.answer(200, {"accounts": [account]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/holds":
            self.answer(404, {})
        else:
            self.answer(200, {}, {"x-amzn-requestid": "one", "x-demo-running": "all=2, sleep-search=2"})

    def answer(self, status: int, document: object, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: pytest's output is not this server's log."""


@pytest.fixture
def lying() -> Iterator[Target]:
    with ThreadingHTTPServer(("127.0.0.1", 0), LyingGateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"127.0.0.1:{server.server_port}"
        yield Target(f"http://{address}", address)
        server.shutdown()
        thread.join()


def test_a_gateway_that_lies_is_found_out_by_what_its_backend_saw(tmp_path: Path, lying: Target) -> None:
    steady = replace(choose(("steady",))[0], locust=("--users=2", "--function=sleep-search"))
    for length in LENGTHS:
        outcome: Outcome = run_scenario(steady, tmp_path, lying, length, lambda seconds: None)
        if outcome.overshoot:
            break
    assert (outcome.overshoot, outcome.is_good) == (1, False), list(outcome.failures)
    assert outcome.highest["unreserved"] == 0
    assert outcome.truly_highest["unreserved"] == 2
    assert any("a 200 above the limit: 2 of 1 (unreserved) ran at once" in text for text in outcome.failures)
    assert outcome.notes == ["no /holds: only seen that nothing is in flight"]


def test_the_runner_ends_with_1_and_says_why_when_nobody_answers(tmp_path: Path) -> None:
    for length in (0.2, *LENGTHS):
        command = [sys.executable, "-m", "loadtests.load", "steady", f"--length={length}", f"--results={tmp_path}"]
        command += ["--host=http://127.0.0.1:9", "--admin=127.0.0.1:9"]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        if "no answer" in found.stdout:
            break
    assert found.returncode == 1, found.stdout + found.stderr
    assert "sleep-checkout no answer" in found.stdout
    assert "limits and leaks are not checked" in found.stdout
