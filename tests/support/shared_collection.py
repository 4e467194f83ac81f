"""Divides the first import of the test files among the workers of xdist.

Every worker collects every file. Where no file is compiled yet, as in a fresh clone, each of them would rewrite the
assertions of all files at the same time, which takes longer than the collection itself. So each worker first imports
those of its own share, and finds the others' compiled files when it collects. The modules are the ones that the
collection takes: it imports none again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest


def list_modules(root: Path, folders: Sequence[Path]) -> list[str]:
    """Returns the names that the import mode `importlib` gives to test files below `root`.

    Files of a package have other names there, and are left out."""
    files = [file for folder in folders for file in folder.rglob("test_*.py")]
    alone = sorted(file for file in files if not (file.parent / "__init__.py").exists())
    return [".".join(file.relative_to(root).with_suffix("").parts) for file in alone]


def import_share(names: Sequence[str], number: int, count: int) -> None:
    """Imports every `count`-th module from the one at `number` on."""
    for name in names[number::count]:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except (Exception, pytest.skip.Exception):  # the collection meets it again, and reports it
                sys.modules.pop(name, None)


def import_own_share(config: pytest.Config) -> None:
    """Imports this worker's share where the whole suite is collected by several workers."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and config.args_source is config.ArgsSource.TESTPATHS:
        names = list_modules(config.rootpath, [config.rootpath / path for path in config.args])
        import_share(names, int(worker["workerid"].removeprefix("gw")), worker["workercount"])
