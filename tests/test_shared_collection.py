"""The test files that are imported once for all workers of xdist, and the workers that are forked with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import shared_collection
from tests.support.shared_collection import CLIENT, import_modules, list_modules

ROOT = Path(__file__).parents[1]
CONFTEST = """
import os
from tests.support.shared_collection import SharedCollection

def pytest_configure(config):
    if "EXECUTED" not in os.environ:
        config.pluginmanager.register(SharedCollection())
"""
TESTS = """
import json, os, signal, sys
from pathlib import Path
import pytest

IMPORTED_BY = os.getpid()
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)

@pytest.mark.parametrize("number", range(20))
def test_own(number):
    found = {
        "arguments": sys.argv,
        "path": sys.path,
        "input": os.readlink("/proc/self/fd/0"),
        "group": [os.getsid(0), os.getpgid(0)],
        "handlers": [repr(signal.getsignal(number)) for number in NUMBERS],
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "folder": os.getcwd(),
    }
    text = json.dumps([IMPORTED_BY != os.getpid(), found])
    Path(os.environ["PYTEST_XDIST_WORKER"]).write_text(text)
    if number == 7 and "ENDS" in os.environ and os.environ["PYTEST_XDIST_WORKER"] == "gw0":
        os._exit(1)

def test_what_an_assertion_compares_is_shown():
    with pytest.raises(AssertionError, match="assert 1 == 2"):
        assert len("1") == 2
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p xdist --import-mode=importlib\ntestpaths = own\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(TESTS)
    return tmp_path


def run(project: Path, **environment: str) -> tuple[str, list[tuple[bool, dict[str, Any]]]]:
    """Returns the last line of a run in which both workers run all tests, and what each of them found: whether it was
    forked, and more."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    more = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "each", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=project, env={**usual, **more, **environment}, capture_output=True, text=True, timeout=120
    )
    print(done.stdout, done.stderr)
    return done.stdout.splitlines()[-1], [json.loads(file.read_text()) for file in project.glob("gw*")]


@pytest.mark.skipif(sys.platform != "linux", reason="workers of xdist are forked on Linux only")
def test_a_forked_worker_finds_what_an_executed_one_finds_and_is_replaced_when_it_ends(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, executed = run(project, EXECUTED="")
    assert "42 passed" in last
    last, forked = run(project, ENDS="")
    assert "1 failed, 41 passed" in last
    assert [is_forked for is_forked, _ in executed] == [False] * 2
    assert [is_forked for is_forked, _ in forked] == [True] * 3, "one of them for the one that ended"
    for (_, like), (_, found) in zip([*executed, executed[0]], forked, strict=True):
        del found["environment"]["ENDS"]
        assert {**found, "environment": {**found["environment"], "EXECUTED": ""}} == like


@pytest.mark.skipif(sys.platform != "linux", reason="workers of xdist are forked on Linux only")
def test_workers_are_executed_where_a_test_file_starts_a_thread(project: Path) -> None:
    thread = "import threading; threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()\n"
    (project / "own" / "test_own.py").write_text(thread + TESTS)
    last, found = run(project)
    assert "42 passed" in last
    assert [is_forked for is_forked, _ in found] == [False] * 2


def test_the_names_are_those_that_the_collection_gives() -> None:
    names = list_modules(ROOT, [ROOT / "tests", ROOT / "docs" / "examples"])
    assert len(names) == len(set(names)) > 300
    assert __name__ in names
    assert sys.modules[__name__].__dict__ is globals()
    assert not [name for name in names if name.startswith("tests.simulation.")], "a package"


def test_a_worker_is_executed_where_its_server_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, str(CLIENT), str(tmp_path / "none"), "-u", "-c", "import sys; print(input(), sys.argv)"]
    done = subprocess.run(command, input="ä\n", capture_output=True, text=True, timeout=60)
    assert done.stdout == "ä ['-c']\n"


def test_a_module_that_cannot_be_imported_is_left_to_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    broken = {"fails": "1 / 0", "skips": "import pytest\npytest.skip('none here', allow_module_level=True)"}
    for name, text in broken.items():
        (tmp_path / f"test_share_that_{name}.py").write_text(text)
    names = list_modules(tmp_path, [tmp_path])
    import_modules(names)
    assert names == ["test_share_that_fails", "test_share_that_skips"]
    assert not set(names) & set(sys.modules)


def test_some_of_the_files_are_collected_by_executed_workers(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_collection, "WorkerServer", lambda: pytest.fail("no worker was to be forked"))
    monkeypatch.setattr(pytestconfig, "args_source", pytestconfig.ArgsSource.ARGS)
    shared_collection.SharedCollection().pytest_xdist_setupnodes(pytestconfig, [])
