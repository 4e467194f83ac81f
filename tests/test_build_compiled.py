"""The build hook does nothing without its variable. The modules that it compiles are such as mypyc compiles rightly.

Nothing is compiled here: `make compiled` does that, and runs tests on the result.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compiled import LEFT_OUT, load_hook
from tests.support.lock import ROOT, read_project

PACKAGE = ROOT / "gateway" / "invoke_gateway"

# Slices with both bounds, each of which is never behind the other: mypyc's slice of bytes fails where it is.
ORDERED_SLICES = {
    ("middleware/payload", "self._size:self._size + len(piece)"),
    ("middleware/payload", "at:at + len(piece)"),
    ("policy/payloads/json_text", "start:start + _CHUNK"),
    ("store/resp", "1:end"),
    ("store/resp", "end + 2:-2"),
    ("store/resp", "position + 1:end"),
    ("store/resp", "position - 2:position"),
    ("store/resp", "position:end"),
    ("store/resp", "start:position - 2"),
    ("telemetry/totals", "start:end"),
    ("upstream/lineage_header", "start - _BEFORE_BYTES:start"),
    ("upstream/lineage_header", "start:end"),
    ("upstream/lineage_header", "len(_BEGIN):-2"),
}

# Arguments of `vars` whose classes are Python: those of compiled ones have no `__dict__`.
PYTHON_OBJECTS = {
    ("workers/aggregate", "read_event_totals(*encoded)"),
    ("workers/aggregate", "self._retired_store"),
    ("workers/aggregate", "self.event_totals"),
    ("workers/snapshots", "shared.totals"),
}

# A `Protocol` of compiled modules: Python classes may inherit from it.
OPEN = {"Slot"}

# What can suspend a coroutine.
_WAITS = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncWith, ast.AsyncFor)

hook = load_hook()


def make_hook(folder: Path) -> Any:
    return hook.CompiledBuildHook(str(folder), {}, None, None, str(folder), "wheel")


def read_modules() -> Iterator[tuple[str, str]]:
    for module in hook.MODULES:
        yield module, (PACKAGE / f"{module}.py").read_text()


def read_trees() -> Iterator[tuple[str, ast.Module]]:
    """Yields the syntax tree of each module of the package, the Python ones included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_each_module_exists_and_is_named_once() -> None:
    assert [module for module in hook.MODULES if not (PACKAGE / f"{module}.py").is_file()] == []
    assert list(hook.MODULES) == sorted(set(hook.MODULES))


@pytest.mark.parametrize(
    ("value", "version"), [(None, "standard"), ("", "standard"), ("0", "standard"), ("1", "editable")]
)
def test_nothing_is_compiled_unless_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None, version: str
) -> None:
    monkeypatch.delenv(hook.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(hook.VARIABLE, value)
    build_data: dict[str, Any] = {"force_include": {}, "pure_python": True, "infer_tag": False}
    built = make_hook(tmp_path)
    built.initialize(version, build_data)
    assert build_data == {"force_include": {}, "pure_python": True, "infer_tag": False}
    assert list(tmp_path.iterdir()) == []
    if version == "standard":
        assert built.dependencies() == []


def test_a_compiled_build_needs_what_the_group_has() -> None:
    assert read_project()["dependency-groups"]["compiled"] == hook.REQUIREMENTS


def test_a_module_is_compiled_without_slots_and_with_the_lines_of_its_source() -> None:
    changed = 0
    for module, source in read_modules():
        adapted = hook.adapt(source)
        assert "slots=True" not in adapted, module
        assert "__slots__" not in adapted, module
        before, after = ast.parse(source), ast.parse(adapted)
        assert adapted.count("\n") == source.count("\n"), module
        assert list(_list_places(before)) == list(_list_places(after)), module
        changed += source != adapted
    assert changed > 10


def _list_places(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Return):
            yield type(node).__name__, node.lineno


def test_slots_are_removed_wherever_they_stand() -> None:
    source = 'class A:\n    """é."""\n\n    __slots__ = (\n        "a",  # the first\n    )\n    b = 1\n'
    assert hook.adapt(source) == 'class A:\n    """é."""\n\n    pass\n\n\n    b = 1\n'
    source = "@dataclass(frozen=True, slots=True)  # why\nclass A:\n    a: int\n"
    assert hook.adapt(source) == source.replace("slots=True", "slots=False")


def test_constants_are_final() -> None:
    source = '"""Doc."""\n\nfrom __future__ import annotations\n\nA_B = 1  # why\n_C_D: dict[str, int] = {"é": 2}\n'
    adapted = (
        '"""Doc."""\n\nfrom __future__ import annotations; from typing import Final\n\n'
        'A_B: Final = 1  # why\n_C_D: Final[dict[str, int]] = {"é": 2}\n'
    )
    assert hook.adapt(source) == adapted
    assert hook.adapt('"""Doc."""\nA_B = 1\n') == '"""Doc."""; from typing import Final\nA_B: Final = 1\n'


def test_functions_that_are_called_have_a_final_name() -> None:
    source = (
        "import os\nfrom time import monotonic\n\n\ndef now(clock=monotonic):\n    def inner():\n"
        "        return next(clock())\n    return monotonic(), next(x for x in inner())\n"
    )
    assert hook.adapt(source) == (
        "import os; from typing import Final\n"
        "from time import monotonic; _final_monotonic: Final = monotonic; _final_next: Final = next\n\n\n"
        "def now(clock=monotonic):\n    def inner():\n        return _final_next(clock())\n"
        "    return _final_monotonic(), next(x for x in inner())\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import os\nScope = dict[str, int]\n",
        "import os\nlog = make()\n",
        "import os\nA_B = (0.1, 0.2)\n",
        "import os\nA_B, C_D = 1, 2\n",
        "import os\nA_B = 1\n\ndef f():\n    global A_B\n    A_B = 2\n",
        "class A:\n    A_B = 1\n",
    ],
    ids=["alias", "lower case", "tuple", "two at once", "assigned twice", "of a class"],
)
def test_other_names_are_not_final(source: str) -> None:
    assert hook.adapt(source) == source


def test_no_compiled_coroutine_waits_while_it_handles_an_exception() -> None:
    """The exception would be that of every other task meanwhile: mypyc's coroutines have no state of their own for it.
    `asyncio.timeout` does not wait at its end."""
    found = []
    for module, source in read_modules():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Try):
                handled = [*node.finalbody, *(line for handler in node.handlers for line in handler.body)]
                waits = [each for line in handled for each in ast.walk(line) if isinstance(each, _WAITS)]
                found += [f"{module}:{each.lineno}" for each in waits]
            if isinstance(node, ast.AsyncWith) and not ast.unparse(node.items[0]).startswith("asyncio.timeout("):
                found.append(f"{module}:{node.lineno}")
    assert found == []


def test_classes_that_inherit_from_one_another_are_all_compiled_or_none() -> None:
    """mypyc finds no attribute of a base class that is Python, and Python no base class that is compiled."""
    found = []
    for module, tree in read_trees():
        origins = dict(_list_imports(module, tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = ({ast.unparse(base).partition("[")[0] for base in node.bases} & origins.keys()) - OPEN
                differ = {base for base in bases if (origins[base] in hook.MODULES) != (module in hook.MODULES)}
                found += [f"{module}: {node.name} inherits from {base}" for base in differ]
    assert found == []


def _list_imports(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields each name that is imported from the package, with its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = module.split("/")[: -node.level]
            for alias in node.names:
                yield alias.asname or alias.name, "/".join([*folder, *(node.module or "").split(".")])


def test_no_compiled_slice_ends_before_its_start() -> None:
    found = set()
    for module, source in read_modules():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Slice) and node.lower is not None and node.upper is not None:
                found.add((module, ast.unparse(node)))
    assert found <= ORDERED_SLICES


def test_no_module_reads_the_dict_of_a_compiled_object() -> None:
    found = set()
    for module, tree in read_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "vars" and not module.startswith("chaos/"):
                found.add((module, ", ".join(map(ast.unparse, node.args))))
            assert not isinstance(node, ast.Attribute) or node.attr != "__dict__", module
    assert found <= PYTHON_OBJECTS


def test_the_tests_that_a_compiled_build_leaves_out_exist() -> None:
    for test, reason in LEFT_OUT.items():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), reason
