"""The share of the test files that a worker of xdist imports first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import shared_collection
from tests.support.shared_collection import import_own_share, import_share, list_modules

ROOT = Path(__file__).parents[1]


def test_the_names_are_those_that_the_collection_gives() -> None:
    names = list_modules(ROOT, [ROOT / "tests", ROOT / "docs" / "examples"])
    assert len(names) == len(set(names)) > 300
    assert __name__ in names
    assert sys.modules[__name__].__dict__ is globals()
    assert not [name for name in names if name.startswith("tests.simulation.")], "a package"


def test_each_module_is_in_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr(shared_collection.importlib, "import_module", imported.append)
    names = [f"tests.none.test_{number}" for number in range(10)]
    for number in range(4):
        import_share(names, number, 4)
    assert sorted(imported) == names


def test_a_module_that_cannot_be_imported_is_left_to_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    broken = {"fails": "1 / 0", "skips": "import pytest\npytest.skip('none here', allow_module_level=True)"}
    for name, text in broken.items():
        (tmp_path / f"test_share_that_{name}.py").write_text(text)
    names = list_modules(tmp_path, [tmp_path])
    import_share(names, 0, 1)
    assert names == ["test_share_that_fails", "test_share_that_skips"]
    assert not set(names) & set(sys.modules)


def test_a_process_that_is_no_worker_imports_nothing(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_collection, "import_share", lambda *_: pytest.fail("no files were to be imported"))
    monkeypatch.delattr(pytestconfig, "workerinput", raising=False)
    import_own_share(pytestconfig)
