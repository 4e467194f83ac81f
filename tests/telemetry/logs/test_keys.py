"""The documented keys of log lines are those that the code writes, and no others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from invoke_gateway.telemetry.logs import log
from invoke_gateway.telemetry.logs.keys import ACCESS, COMMON, FIELDS, KINDS

PACKAGE = Path(log.__file__).parents[2]


def written_fields() -> Iterator[dict[str, ast.expr]]:
    """Each mapping `{"fields": {…}}` of the package, and the one that the writer of lines makes."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            fields: ast.expr | None = None
            if isinstance(node, ast.Dict) and [getattr(key, "value", None) for key in node.keys] == ["fields"]:
                fields = node.values[0]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "fields":
                fields = node.value
            if fields is not None:
                assert isinstance(fields, ast.Dict), f"{path}: line {fields.lineno}: write the keys out"
                yield as_mapping(fields)


def as_mapping(node: ast.Dict) -> dict[str, ast.expr]:
    keys = [ast.literal_eval(key) for key in node.keys if key is not None]
    return dict(zip(keys, node.values, strict=True))


def test_each_kind_of_line_has_the_keys_that_are_documented() -> None:
    found: dict[str, set[str]] = {}
    for fields in written_fields():
        kind = ast.literal_eval(fields.pop("kind"))
        found[kind] = found.get(kind, set()) | set(fields)
    assert found == {kind: set(keys) for kind, (_, keys) in KINDS.items()}


def test_each_key_is_described_once_and_used() -> None:
    used = {key for _, keys in KINDS.values() for key in keys} | {"kind"}
    assert used == set(FIELDS)
    assert set(FIELDS) & set(COMMON) == {"worker"}  # in lines of the supervisor it is the worker of which they speak


def test_the_keys_of_the_access_log_are_those_that_are_documented() -> None:
    written: set[str] = {"worker"}
    for function in ast.parse(Path(log.__file__).read_text()).body:
        if isinstance(function, ast.FunctionDef) and function.name in ("write_access_line", "_name_event"):
            for node in ast.walk(function):
                if isinstance(node, ast.Dict):
                    written |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
                elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "line":
                    written.add(ast.literal_eval(node.slice))
    assert written == set(ACCESS)
