"""Builds the wheel and the source distribution, and compares their content with git's.

    python -m tests.support.distributions FOLDER

`make dist` ends with this command. It exits with 1 where FOLDER holds a file that git does not have, or lacks one.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

if TYPE_CHECKING:  # `make dist` needs no pytest
    import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("invoke_gateway", "pytest_invoke_gateway")
GENERATED = "PKG-INFO"
IN_DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def build(folder: Path, *flags: str) -> None:
    """Builds both into `folder`, the wheel from the source distribution. No package index is needed: the build system
    is the installed one."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *flags, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build_once(factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with both, which the tests of a run share, whatever their worker. They change nothing in it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "distributions"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(folder.with_suffix(".part"))
            folder.with_suffix(".part").rename(folder)
    return folder


def list_sdist(folder: Path) -> set[str]:
    """Returns the files of the source distribution in `folder`, relative to its root."""
    (file,) = folder.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = [member.name.partition("/") for member in archive.getmembers() if not member.isdir()]
    assert {root for root, _, _ in names} == {file.name.removesuffix(".tar.gz")}
    return {name for _, _, name in names}


def list_wheel(folder: Path) -> set[str]:
    """Returns the files of the wheel in `folder`; those of its `.dist-info` without the name of that folder."""
    (file,) = folder.glob("*.whl")
    with ZipFile(file) as archive:
        names = archive.namelist()
    return {name.partition(".dist-info/")[2] or name for name in names}


def list_git(*, untracked: bool) -> set[str]:
    """Returns the files of the source tree that git has, with `untracked` also those that it would take.

    FileNotFoundError without git, and RuntimeError outside of a clone.
    """
    command = ["git", "ls-files", "-z", "--cached", *(["--others", "--exclude-standard"] if untracked else [])]
    # -C: of this tree, not of one around it. A source distribution may be unpacked inside of another project's clone.
    if not (ROOT / ".git").exists():
        raise RuntimeError("this source tree is no clone")
    done = subprocess.run(["git", "-C", str(ROOT), *command[1:]], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def expect_wheel(source: set[str]) -> set[str]:
    """Returns what a wheel made from these files holds: both packages, whole."""
    inside = {name.removeprefix("gateway/") for name in source if name.startswith("gateway/")}
    return {name for name in inside if name.partition("/")[0] in PACKAGES} | IN_DIST_INFO


def find_differences(folder: Path, source: set[str]) -> list[str]:
    """Returns a line for each file that is missing in a distribution, or that does not belong there."""
    lines = []
    for kind, there, wanted in (
        ("source distribution", list_sdist(folder), source | {GENERATED}),
        ("wheel", list_wheel(folder), expect_wheel(source)),
    ):
        lines += [f"{kind}: {name} is missing" for name in sorted(wanted - there)]
        lines += [f"{kind}: {name} is not in git" for name in sorted(there - wanted)]
    return lines


def main(folder: Path) -> int:
    try:
        source = list_git(untracked=False)
    except (FileNotFoundError, RuntimeError) as error:
        print(f"The content was not compared with git's: {error}.")
        return 0
    differences = find_differences(folder, source)
    for line in differences:
        print(line)
    if differences:
        print("Build from a clone without other files: `git status` lists them.")
        return 1
    print(f"source distribution: {len(list_sdist(folder))} files, as in git; wheel: {len(list_wheel(folder))} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
