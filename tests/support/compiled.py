"""Tests a compiled build, in the environment that it is installed in.

    .venv-compiled/bin/python -m tests.support.compiled

`make compiled` runs it. It first imports each compiled module, and fails if one of them is still Python.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]

PATHS = (
    "tests/policy",
    "tests/listener",
    "tests/middleware",
    "tests/upstream",
    "tests/app",
    "tests/counters",
    "tests/store",
    "tests/test_buffers.py",
    "tests/test_write_batcher.py",
    "tests/scenarios/test_fault_scripts.py",
    "tests/workers/test_workers.py",
)

_REPLACES = "replaces a constant of a module; a compiled module has taken its value when it was compiled"
_INHERITS = "makes a Python class of a compiled one, which is not allowed"
_CANCELLED = "test_a_request_that_is_cancelled_while_it_waits_for_a_store_keeps_no_slot"
_DECIDED = "test_a_slot_that_a_store_decides_over_is_held_and_given_back_as_any_other"
_ENDLESS = "test_an_upload_without_end_is_cut_when_it_has_been_read_long_enough"
_STANDS_IN = "hands over an object that only looks like an Exchange; a compiled function takes the class itself"

LEFT_OUT = {
    "tests/listener/test_overflow.py::test_a_flood_of_connections_above_the_ceiling_is_only_cut": _REPLACES,
    f"tests/middleware/test_admission.py::{_CANCELLED}": _INHERITS,
    f"tests/middleware/test_admission.py::{_DECIDED}": _INHERITS,
    "tests/middleware/test_admission.py::test_a_store_without_room_refuses": _INHERITS,
    "tests/middleware/test_admission.py::test_an_error_of_the_store_is_an_error_of_the_request": _INHERITS,
    f"tests/middleware/test_error_response.py::{_ENDLESS}": _REPLACES,
    "tests/policy/payloads/test_json_text.py::test_the_reason_does_not_depend_on_the_words_of_the_parser": _REPLACES,
    "tests/policy/test_limits.py::test_invented_names_of_functions_and_callers_do_not_fill_the_memory": _REPLACES,
    "tests/upstream/test_slot_release.py::test_the_end_of_a_call_releases_the_slot_once": _STANDS_IN,
    "tests/upstream/test_slot_release.py::test_a_call_without_a_slot_releases_nothing": _STANDS_IN,
}
"""Holds the tests that no compiled build can pass, with the reason."""


def load_hook() -> ModuleType:
    """Returns the build hook as a module. Its folder need not be on Python's path."""
    spec = importlib.util.spec_from_file_location("build_compiled", ROOT / "gateway" / "build_compiled.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_python_modules(modules: tuple[str, ...]) -> list[str]:
    """Returns those modules that are imported from Python source."""
    files = [importlib.import_module(f"invoke_gateway.{module.replace('/', '.')}").__file__ for module in modules]
    return [file or "no file" for file in files if not str(file).endswith((".so", ".pyd"))]


def main() -> int:
    modules = load_hook().MODULES
    if pure := find_python_modules(modules):
        print("Not compiled:", *pure, "Run make compiled.", sep="\n")
        return 1
    print(
        f"{len(modules)} modules are compiled: {importlib.import_module('invoke_gateway.listener.protocol').__file__}"
    )
    for test, reason in LEFT_OUT.items():
        print(f"Left out: {test}: {reason}")
    workers = str((os.cpu_count() or 1) + 2)
    deselected = [word for test in LEFT_OUT for word in ("--deselect", test)]
    tests = ["-m", "pytest", "--numprocesses", workers, "--dist", "loadfile", *deselected, *PATHS, *sys.argv[1:]]
    prove = ["-m", "invoke_gateway", "prove", "--seeds", "1", "--first", "100"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return max(subprocess.run([sys.executable, *run], cwd=ROOT, env=environment).returncode for run in (tests, prove))


if __name__ == "__main__":
    sys.exit(main())
