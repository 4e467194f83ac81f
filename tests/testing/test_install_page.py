"""Every command of docs/install.md is run: in a home folder of its own, in the unpacked source distribution.

It needs a package index, as a user does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.distributions import build_once
from tests.support.lock import find_active_lock, read_project

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "install.md").read_text()
FIRST, *BLOCKS = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
NAMES = re.compile(r"\$ (?:\w+=\S+ )*(pipx|uv|python3)")


def split(block: str) -> list[tuple[str, str]]:
    """Returns the commands, each with what the page prints after it."""
    parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, printed) for command, _, printed in parts]


def name_of(block: str) -> str:
    found = NAMES.match(block)
    assert found, block
    return f"{found[1]} {re.findall(r'dist|sqs|constraints', block)[-1]}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree with its wheel in dist/, as `make dist` leaves it."""
    folder = tmp_path_factory.mktemp("checkout")
    dist = build_once(tmp_path_factory)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    (source / "dist").mkdir()
    (wheel,) = dist.glob("*.whl")
    shutil.copy(wheel, source / "dist")
    (source / "constraints.txt").write_text(find_active_lock().read_text())
    return source


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell that finds Python, pipx, uv and what these install for a user, but no command of this environment."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("pipx", "uv"):
        (tools / name).symlink_to(Path(sys.executable).with_name(name))
    (tools / "python3").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    home = tmp_path / "home"
    home.mkdir()
    # The index of packages is this machine's; where things are installed is not.
    left_out = ("PYTEST", "PYTHON", "PIPX_", "UV_TOOL", "VIRTUAL_ENV", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = os.pathsep.join([str(home / ".local" / "bin"), str(tools), "/usr/bin", "/bin"])
    # pip compiles every module otherwise, of which a test loads a few.
    return {**kept, "HOME": str(home), "PATH": path, "XDG_CACHE_HOME": cache, "PIP_NO_COMPILE": "1"}


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_a_block_of_commands_installs_what_the_page_prints(
    block: str, checkout: Path, environment: dict[str, str]
) -> None:
    for command, printed in split(block):
        # -e -o pipefail: each part of a line must work.
        shell = ["bash", "-e", "-o", "pipefail", "-c", command.replace(".venv-own", "$HOME/.venv-own")]
        done = subprocess.run(shell, cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        if printed:
            assert done.stdout == printed


def test_the_page_installs_with_each_installer_from_both() -> None:
    assert FIRST == "$ make dist\n"
    assert {name_of(block) for block in BLOCKS} >= {
        *(f"{installer} dist" for installer in ("pipx", "uv", "python3")),
        *(f"{installer} sqs" for installer in ("pipx", "uv")),
    }


def test_the_page_lists_each_extra() -> None:
    section = TEXT.partition("\n## Extras\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(
        read_project()["project"]["optional-dependencies"]
    )


def test_nothing_is_installed_by_a_name_that_no_index_has() -> None:
    """docs/releasing.md: until the first publication, in no page, no message and no example."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*"), *(ROOT / "gateway").rglob("*.py")]
    by_name = re.compile(
        r"(?:pip install|pipx install|pipx run|uv tool install|uvx|uv add)[^\n|`]*? ['\"]?invoke-gateway\b"
    )
    found = []
    for page in pages:
        if page.is_file() and page.suffix in {".md", ".py", ".yaml"} and page.name != "releasing.md":
            found += [f"{page}: {one}" for one in by_name.findall(page.read_text())]
    assert read_project()["project"].get("urls") or found == []
