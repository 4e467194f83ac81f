"""The compiled build stands beside the gateway only while both are of the same sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench.compare import compared
from loadtests.bench.paths import BODIES
from loadtests.bench.peers import COMPILED, GATEWAY, PEERS, compiled_gateway, find_compiled, gateway


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_package(tmp_path / "gateway" / "invoke_gateway")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package of a compiled build of the same sources."""
    package = write_package(tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "invoke_gateway")
    (package / "listener" / "protocol.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    return package


def write_package(package: Path) -> Path:
    (package / "listener").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "listener" / "protocol.py").write_text("LIMIT = 1\n")
    return package


def test_a_build_of_these_sources_is_found(tmp_path: Path, sources: Path, installed: Path) -> None:
    assert find_compiled(tmp_path / "venv", sources) == installed


def test_a_build_of_other_sources_is_not_measured(tmp_path: Path, sources: Path, installed: Path) -> None:
    (sources / "listener" / "protocol.py").write_text("LIMIT = 2\n")
    assert find_compiled(tmp_path / "venv", sources) is None


def test_a_build_without_a_new_file_is_not_measured(tmp_path: Path, sources: Path, installed: Path) -> None:
    (sources / "listener" / "head.py").write_text("")
    assert find_compiled(tmp_path / "venv", sources) is None


def test_a_pure_build_in_its_place_is_not_measured(tmp_path: Path, sources: Path, installed: Path) -> None:
    next(installed.rglob("*.so")).unlink()
    assert find_compiled(tmp_path / "venv", sources) is None


def test_without_an_environment_there_is_no_build(tmp_path: Path, sources: Path) -> None:
    assert find_compiled(tmp_path / "venv", sources) is None


@pytest.mark.parametrize("path", BODIES)
def test_the_compiled_build_is_compared_wherever_the_gateway_is(path: str) -> None:
    names = [peer.name for peer in compared(path, [gateway(), compiled_gateway(), *PEERS], is_chosen=False)]
    assert names[:2] == [GATEWAY, COMPILED]
    assert "HAProxy" not in names
