"""Assert that the packages use no private part of a library: a release of the library may change it without notice."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Thread
from types import FunctionType

ROOT = Path(__file__).parent.parent / "gateway"
FILES = sorted(ROOT.rglob("*.py"))
PRIVATE = re.compile(r"_(?!_)\w*[a-z]\w*(?<!_)")  # not `__name__`, not `_value_` of an Enum, which are documented

# Names that their documentation describes.
DOCUMENTED = {"_asdict", "_fields", "_make", "_replace", "_exit"}

OWN_OR_LANGUAGE = ("invoke_gateway", "pytest_invoke_gateway", "builtins", "enum", "typing")


def is_private(name: str) -> bool:
    return PRIVATE.fullmatch(name) is not None and name not in DOCUMENTED


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def own_names() -> frozenset[str]:
    """Returns every private name that one of our modules defines."""
    names: set[str] = set()
    for file in FILES:
        for node in ast.walk(parse(file)):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
    return frozenset(names)


def find_uses(tree: ast.AST, own: frozenset[str]) -> Iterator[str]:
    """Yields each private name of something else that a module reads, imports or gets by its text."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()) if is_private(name) and name not in own:
                yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_]
            ):
                if is_private(name) and name not in own:
                    yield name
            case ast.ImportFrom(level=0, module=str(module), names=names):
                yield from (part for part in module.split(".") if part != "__future__" and is_private(part))
                yield from (each.name for each in names if is_private(each.name))
            case ast.Import(names=names):
                yield from (part for each in names for part in each.name.split(".") if is_private(part))


@cache
def names_in_methods(kind: type, folder: str = "") -> frozenset[str]:
    """Returns the names of a class's methods, and those that the methods use. folder: where they are written."""
    names: set[str] = set()
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(function, FunctionType) and function.__code__.co_filename.startswith(folder):
            names.update((name, *function.__code__.co_names))
    return frozenset(names)


def find_shared(kind: type, folder: Path) -> Iterator[str]:
    """Yields the private names that a class and a library's class above it both use."""
    for base in kind.__mro__[1:]:
        if base.__module__.partition(".")[0] not in OWN_OR_LANGUAGE:
            shared = names_in_methods(kind, str(folder)) & (names_in_methods(base) | set(vars(base)))
            yield from filter(is_private, shared)


def test_no_private_name_of_a_library_is_used() -> None:
    uses = {str(file.relative_to(ROOT)): list(find_uses(parse(file), own_names())) for file in FILES}
    assert {file: names for file, names in uses.items() if names} == {}


def test_no_class_shares_a_private_name_with_a_library() -> None:
    shared: list[str] = []
    for file in FILES:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name.removesuffix(".__init__"))
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                shared += [f"{module.__name__}.{kind.__name__}.{each}" for each in find_shared(kind, ROOT)]
    assert shared == []


def test_a_class_that_overrides_a_private_method_is_found() -> None:
    class Override(Thread):
        def _bootstrap(self) -> None:
            self._started = None

        def _mine(self) -> None:
            pass

    assert set(find_shared(Override, Path(__file__).parent)) == {"_bootstrap", "_started"}


def test_each_kind_of_use_is_found() -> None:
    code = """
from redis._parsers import Encoder
from uvicorn.server import _Private
import asyncio.events, json._scanner
a.b._writer
getattr(a, "_expiry_time", None)
a._asdict(), a.__name__, a._value_, os._exit(1), a._ours
"""
    found = list(find_uses(ast.parse(code), frozenset({"_ours"})))
    assert sorted(found) == ["_Private", "_expiry_time", "_parsers", "_scanner", "_writer"]
