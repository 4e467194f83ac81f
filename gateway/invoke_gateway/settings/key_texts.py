"""Reads the descriptions of the keys: the texts under the fields of the models.

Pydantic would read the source of every model at each start, for texts that only the help and the JSON Schema show.
"""

import ast
import inspect
import sys
from functools import cache
from typing import Any

from invoke_gateway.settings.models.accounts import FunctionSettings, Model
from invoke_gateway.settings.models.provisioned import AliasSlots

_DOCUMENTED: tuple[Any, ...] = (*Model.__subclasses__(), FunctionSettings, AliasSlots)


@cache
def describe_keys() -> dict[str, dict[str, str]]:
    """Puts the texts into the fields. Returns the texts by model and key; none where the source is not installed."""
    texts: dict[str, dict[str, str]] = {}
    for module in {model.__module__ for model in _DOCUMENTED}:
        texts |= _read_classes(module)
    described: dict[str, dict[str, str]] = {}
    for model in _DOCUMENTED:
        found = texts.get(model.__name__, {})
        described[model.__name__] = {}
        for name, field in model.__pydantic_fields__.items():
            if name in found:
                field.description = described[model.__name__][field.alias or name] = found[name]
    return described


def _read_classes(module: str) -> dict[str, dict[str, str]]:
    """Returns the text under each annotated name, by class."""
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:
        return {}
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_read_fields(node)) for node in classes}


def _read_fields(node: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found.append((name, inspect.cleandoc(text)))
    return found
