"""Writes a constraints file: the exact version of every package that the project installs anywhere.

    python -m tests.support.lock --output-file FILE [more flags of `uv pip compile`]

`make lock` writes constraints.txt, with `--universal`: for every Python that is promised and every system. `make
test-newest` and `make test-oldest` write one into the folder of their own environment, where the tests find it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "constraints.txt"
NAME = "constraints.txt"


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def list_groups() -> list[str]:
    return sorted(read_project()["dependency-groups"])


def find_oldest_python() -> str:
    """Returns the oldest Python that the package supports, as "3.11"."""
    found = re.fullmatch(r">=(\d+\.\d+)", read_project()["project"]["requires-python"])
    assert found, "requires-python is a lower bound"
    return found[1]


def find_active_lock() -> Path:
    """Returns the constraints file by which this environment was installed."""
    own = Path(sys.prefix) / NAME
    return own if own.exists() else LOCK


def compile_command(*flags: str) -> list[str]:
    """Returns the command that resolves all of pyproject.toml. It reads the build system's requirements from standard
    input, because uv takes none of them from pyproject.toml."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--all-extras", "--upgrade"]
    command += ["--annotation-style", "line", "--custom-compile-command", "make lock"]
    command += [word for group in list_groups() for word in ("--group", group)]
    if "--universal" in flags:
        command += ["--python-version", find_oldest_python()]
    return [*command, *flags, "pyproject.toml", "-"]


def write_lock(*flags: str) -> None:
    """Resolves and writes. The flags are those of uv; SystemExit with uv's status when it fails."""
    needed = "\n".join(read_project()["build-system"]["requires"])
    done = subprocess.run(compile_command(*flags), cwd=ROOT, input=needed, text=True, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    write_lock(*sys.argv[1:])
