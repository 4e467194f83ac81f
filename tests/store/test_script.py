"""Scripts of Lua, put together from files."""

from __future__ import annotations

import sys
from hashlib import sha1
from pathlib import Path

import pytest

from invoke_gateway.store.script import Script


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "scripted_package" / "scripts"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "prelude.lua").write_text("local a = 1\n")
    (folder / "sum.lua").write_text("-- include: two\nif a then\n  -- include: three\nend\nreturn a + b + c\n")
    (folder / "two.lua").write_text("local b = 2\n")
    (folder / "three.lua").write_text("-- include: two\nc = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "scripted_package", raising=False)
    return "scripted_package"


def test_a_file_is_included_once(package: str) -> None:
    script = Script(package, "sum")
    assert script.source == "local a = 1\nlocal b = 2\n\nif a then\n\nc = 3\n\nend\nreturn a + b + c\n"
    assert script.sha == sha1(script.source.encode(), usedforsecurity=False).hexdigest()


def test_a_file_that_is_not_there_is_an_error(package: str) -> None:
    with pytest.raises(FileNotFoundError):
        Script(package, "difference")
