"""constraints.txt has one version of everything that is installed, and everything is installed by it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import lock

ROOT = Path(__file__).parents[1]
# `name==version`, for some environments only, and by whom it is needed: nothing else, so no address and no flag.
ENTRY = re.compile(r"[a-z0-9-]+==[\w.!+]+( ; [\w.<>=!'() -]+?)? *(# via [\w .,:()-]+)?")
PYTHONS = ("3.11.0", "3.11.7", "3.12.1", "3.13.0", "3.14.0")
NAMES = "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"


def read_lock(file: Path) -> list[Requirement]:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not ENTRY.fullmatch(line)] == []
    return [Requirement(line.partition("#")[0].rstrip()) for line in lines]


def environment(python: str, platform: str = "linux") -> dict[str, str]:
    version = python.rpartition(".")[0]
    return {**default_environment(), "python_version": version, "python_full_version": python, "sys_platform": platform}


def applies(requirement: Requirement, where: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**where, "extra": ""})


def list_requirements() -> list[Requirement]:
    """All of pyproject.toml's: the package's, its extras', those of every group, and the build system's."""
    project: dict[str, Any] = lock.read_project()
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for texts_of_one in project["project"]["optional-dependencies"].values():
        texts += texts_of_one
    for group in project["dependency-groups"].values():
        texts += [text for text in group if isinstance(text, str)]
    return [Requirement(text) for text in texts]


REQUIREMENTS = list_requirements()
ENTRIES = read_lock(lock.LOCK)


def find_version(entries: list[Requirement], name: str, where: dict[str, str]) -> str | None:
    """The version that is locked there, None where there is no entry; AssertionError where there are two."""
    found = [
        str(next(iter(entry.specifier)).version)
        for entry in entries
        if canonicalize_name(entry.name) == canonicalize_name(name) and applies(entry, where)
    ]
    assert len(found) <= 1, (name, found)
    return found[0] if found else None


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_each_requirement_has_one_version_within_its_range(python: str, platform: str) -> None:
    where = environment(python, platform)
    wanted = [requirement for requirement in REQUIREMENTS if applies(requirement, where)]
    assert len(wanted) > 30
    versions = [(one, find_version(ENTRIES, one.name, where)) for one in wanted]
    outside = [f"{one}: {version}" for one, version in versions if version is None or version not in one.specifier]
    assert not outside, "run `make lock ARGS=--no-upgrade`"


def test_each_requirement_has_a_lower_and_an_upper_bound() -> None:
    """`make test-oldest` needs the first, and a user's environment next year the second."""
    exact = {"grafana-foundation-sdk"}  # docs/decisions/0002-dependencies.md
    # What they promise, they keep for years, and we use little of it. Two have the year as their version.
    tools = {"hatch-fancy-pypi-readme", "pip", "readme-renderer"}
    for requirement in REQUIREMENTS:
        operators = {each.operator for each in requirement.specifier}
        expected = {"=="} if requirement.name in exact else {">="} if requirement.name in tools else {">=", "<"}
        assert operators == expected, requirement


def list_needed() -> Iterator[str]:
    """Names of what is installed here because pyproject.toml asks for it, directly or not."""
    where = environment(default_environment()["python_full_version"])
    pending = [(one.name, frozenset(one.extras)) for one in REQUIREMENTS if applies(one, where)]
    seen = set()
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        try:
            texts = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of a group that is not installed here
        for need in map(Requirement, texts):
            if any(need.marker is None or need.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                pending.append((need.name, frozenset(need.extras)))


def test_what_these_need_in_turn_is_there_too() -> None:
    entries = read_lock(lock.find_active_lock())
    where = dict(default_environment())
    missing = {name for name in list_needed() if find_version(entries, name, where) is None}
    assert not missing, "run `make lock ARGS=--no-upgrade`"


def test_resolving_reads_every_group_extra_and_the_build_system() -> None:
    command = lock.compile_command("--universal")
    groups = {command[index + 1] for index, word in enumerate(command) if word == "--group"}
    assert groups == set(lock.read_project()["dependency-groups"])
    assert {"--all-extras", "pyproject.toml", "-"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.11"
    assert not any("index" in word or "//" in word for word in command)


def dry_run(*arguments: str) -> list[str]:
    """The commands that `make` would run, for what is there already too."""
    # The variables of the `make` that runs these tests are not for this one.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--always-make", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def list_targets() -> list[str]:
    """Those that people call: each has a line of help."""
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_install_of_the_makefile_is_by_the_lock() -> None:
    targets = [name for name in list_targets() if name != "clean" and not name.startswith("test-")]
    printed = dry_run("VENV=.venv-of-no-use", *targets)
    installs = [line for line in printed if re.search(r"\bpip install\b|fetch_redis", line)]
    # pip, the package, and the groups dev, dist, docs, load, bench, install and redis; three of these for `compiled`
    assert len(installs) == 12
    for line in installs:
        assert shlex.split(line)[:2] == [f"{name}=constraints.txt" for name in NAMES]


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_the_other_environments_are_installed_by_a_lock_of_their_own(which: str) -> None:
    printed = dry_run(f"test-{which}")
    own = f".venv-{which}/{lock.NAME}"
    resolution = {"newest": "highest", "oldest": "lowest-direct"}[which]
    (resolved,) = [line for line in printed if "tests.support.lock" in line]
    assert f"--python .venv-{which}/bin/python --output-file {own} --resolution {resolution}" in resolved
    install = re.compile(rf"\.venv-{which}/bin/python (-m pip install|.*fetch_redis)")
    installs = [line for line in printed if install.search(line)]
    assert len(installs) == 4
    assert all(shlex.split(line)[:2] == [f"{name}={own}" for name in NAMES] for line in installs)
    assert any(f" .venv-{which}/bin/python -m pytest" in line for line in printed)
    assert f"/.venv-{which}/" in (ROOT / ".gitignore").read_text().splitlines()
    assert f".venv-{which}" in " ".join(dry_run("clean")).split()


def test_the_image_is_installed_by_the_lock() -> None:
    """What is copied is checked in tests/deploy/test_image.py."""
    text = (ROOT / "docs" / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
    ((folder, copied),) = re.findall(r"^WORKDIR (\S+)$\n^COPY (.*constraints\.txt.*) \./$", text, re.MULTILINE)
    first, second = re.split(r"^RUN python -m venv", text, flags=re.MULTILINE)
    (variables,) = re.findall(r"^ENV (PIP_.*)$", first, re.MULTILINE)
    assert all(f"{name}={folder}/constraints.txt" in variables.split() for name in NAMES)
    assert "constraints.txt" in copied.split()
    assert "pip install" not in first
    assert second.partition("\nFROM")[0].count("pip install") == 2
    assert "pip install" not in second.partition("\nFROM")[2]
