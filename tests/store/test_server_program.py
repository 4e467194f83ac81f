"""Which server of this machine an embedded store uses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from invoke_gateway.store.server_program import find_server_program

from ..support.stores import find_binary


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_valkey_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "redis-server", "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_program() == str(tmp_path / "valkey-server")


def test_redis_on_the_path_comes_before_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_program() == str(tmp_path / "redis-server")


def test_without_one_on_the_path_the_package_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_program() == str(find_binary("valkey"))


def test_without_any_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_server_program() is None
