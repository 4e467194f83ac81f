"""Builds a wheel whose hot modules are compiled to C by mypyc, where INVOKE_GATEWAY_COMPILED=1 is set.

hatchling loads this file as the build hook of the wheel. Without the variable it does nothing, so the usual wheel is
pure Python and needs no compiler. The sources stay as they are: what mypyc does not accept is changed in a copy.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "INVOKE_GATEWAY_COMPILED"
PACKAGE = "invoke_gateway"

# What compiles, beside the dependencies of the gateway, whose types mypyc reads.
REQUIREMENTS = ["mypy>=2.1,<3", "setuptools>=77,<83"]

# The modules that a call passes. `refusals` is not among them: a member of an Enum cannot be of a compiled class.
MODULES = (
    "app/current_tables",
    "app/recorder",
    "asgi",
    "awaited",
    "buffers",
    "counters/base",
    "counters/local_slots",
    "counters/memory",
    "counters/pending_slot",
    "counters/rates",
    "counters/shared/availability",
    "counters/shared/connecting",
    "counters/shared/counters",
    "counters/shared/direct_exchange",
    "counters/shared/messages",
    "counters/shared/script",
    "counters/shared/shard",
    "counters/shared/shard_context",
    "counters/shared/tally",
    "counters/tenant_environments",
    "exchange",
    "invocation",
    "listener/client_connection",
    "listener/connection_setup",
    "listener/cycle",
    "listener/flow_control",
    "listener/head",
    "listener/limits",
    "listener/pipeline",
    "listener/progress",
    "listener/protocol",
    "listener/rejection",
    "listener/request_parser",
    "listener/scope",
    "listener/transport",
    "middleware/admission",
    "middleware/announced_length",
    "middleware/authenticate",
    "middleware/error_response",
    "middleware/handoff",
    "middleware/identify",
    "middleware/payload",
    "middleware/record",
    "middleware/recursion",
    "policy/concurrency",
    "policy/counter_names",
    "policy/limits",
    "policy/payloads/json_text",
    "policy/payloads/payload",
    "policy/recursion",
    "policy/requests/caller",
    "policy/requests/request_target",
    "policy/retry_after",
    "store/availability",
    "store/connection",
    "store/exchange_protocol",
    "store/resp",
    "telemetry/frequent",
    "telemetry/last_refusals",
    "telemetry/logs/summaries",
    "telemetry/totals",
    "upstream/call",
    "upstream/connection",
    "upstream/forward",
    "upstream/headers",
    "upstream/lineage_header",
    "upstream/pool",
    "upstream/response_parser",
    "upstream/slot_release",
    "write_batcher",
)


# Options of gcc and clang: calls among compiled functions, and those of Python, go through no table of stubs.
_DIRECT_CALLS = ["-fvisibility=hidden", "-fno-plt"]

# The bytes from one place in a source to another, and what takes their place.
Edit = tuple[int, int, int, int, bytes]

_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")

# Functions of the standard library that a call of the gateway calls, each under a name of its own in a module.
_FUNCTIONS = ("bisect_left", "map", "monotonic", "next", "random")


def is_wanted() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def adapt(source: str) -> str:
    """Returns the source as mypyc needs it, each line in its place.

    That is without `__slots__`, which compiled classes have anyway, and with final names for constants and for some
    functions: mypyc looks all other names of a module up in a dict, at each use.
    """
    tree = ast.parse(source)
    final = [*_make_final(tree), *_name_functions(tree)]
    if final:
        final.append(_insertion(_find_first_import(tree), "; from typing import Final"))
    edits = [*_remove_slots(tree), *final]
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for edit in sorted(edits, reverse=True):
        _apply(lines, *edit)
    return b"".join(lines).decode()


def _remove_slots(tree: ast.Module) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            if isinstance(statement, ast.Assign) and _names(statement) == ["__slots__"]:
                yield _replacement(statement, "pass")
        for decorator in node.decorator_list:
            for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if keyword.arg == "slots":
                    yield _replacement(keyword.value, "False")


def _make_final(tree: ast.Module) -> Iterator[Edit]:
    """Annotates the names in capitals that a module assigns once; not those of tuples, which mypyc makes of their items
    at each use."""
    assigned = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, annotation = statement.targets[0], None
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, annotation = statement.target, statement.annotation
        else:
            continue
        if not isinstance(target, ast.Name) or not _CONSTANT.fullmatch(target.id) or assigned[target.id] > 1:
            continue
        if isinstance(statement.value, ast.Tuple):
            continue
        if annotation is None:
            yield _insertion(target, ": Final")
        else:
            yield _replacement(annotation, f"Final[{ast.unparse(annotation)}]")


def _name_functions(tree: ast.Module) -> Iterator[Edit]:
    """Gives those of `_FUNCTIONS` that functions of the module call a final name there."""
    bodies = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    calls = {node for body in bodies for node in ast.walk(body) if isinstance(node, ast.Call)}
    called = [node.func for node in calls if not (node.args and isinstance(node.args[0], ast.GeneratorExp))]
    names = set()
    for function in called:
        if isinstance(function, ast.Name) and function.id in _FUNCTIONS:
            names.add(function.id)
            yield _replacement(function, f"_final_{function.id}")
    if names:
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        yield _insertion(imports[-1], "".join(f"; _final_{name}: Final = {name}" for name in sorted(names)))


def _find_first_import(tree: ast.Module) -> ast.stmt:
    """Returns the statement behind which a module may import: one from `__future__`, or the first."""
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    return next(imports, tree.body[0])


def _names(statement: ast.Assign) -> list[str]:
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _insertion(node: ast.stmt | ast.expr, text: str) -> Edit:
    """Returns the edit that puts a text behind a node."""
    _, _, line, column, added = _replacement(node, text)
    return line, column, line, column, added


def _replacement(node: ast.stmt | ast.expr, text: str) -> Edit:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno - 1, node.col_offset, node.end_lineno - 1, node.end_col_offset, text.encode()


def _apply(lines: list[bytes], first: int, start: int, last: int, end: int, text: bytes) -> None:
    """Puts `text`, and as many line ends as there were, in the place of a node."""
    rest = lines[last][end:]
    if last > first:
        lines[last] = rest
        rest = b"\n"
    lines[first] = lines[first][:start] + text + rest
    for number in range(first + 1, last):
        lines[number] = b"\n"


def copy_sources(package: Path, folder: Path) -> Path:
    """Copies the package into `folder`, the compiled modules adapted. Returns the copy."""
    copy = folder / PACKAGE
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module in MODULES:
        path = copy / f"{module}.py"
        path.write_text(adapt(path.read_text(encoding="utf-8")), encoding="utf-8")
    return copy


def compile_here() -> None:
    """Compiles the modules of the package in the current folder in place."""
    from mypyc.build import mypycify  # type: ignore[import-untyped,unused-ignore]  # only a build has it
    from setuptools import setup  # type: ignore[import-untyped,unused-ignore]  # as above

    options = ["--ignore-missing-imports", "--cache-dir", ".mypy_cache"]
    paths = [f"{PACKAGE}/{module}.py" for module in MODULES]
    extensions = mypycify([*options, *paths], opt_level="2", debug_level="0", target_dir="c", group_name=PACKAGE)
    if sys.platform == "linux":
        for extension in extensions:
            extension.extra_compile_args += _DIRECT_CALLS
    setup(name=PACKAGE, ext_modules=extensions, script_args=["--quiet", "build_ext", "--inplace"])


class CompiledBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [*REQUIREMENTS, *self.metadata.core.dependencies] if is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not is_wanted() or version == "editable":
            return
        folder = Path(self.root, "build", "compiled", "source")
        shutil.rmtree(folder, ignore_errors=True)
        copy_sources(Path(self.root, "gateway", PACKAGE), folder)
        subprocess.run([sys.executable, __file__], cwd=folder, check=True)
        for path in folder.rglob("*.so"):
            name = path.relative_to(folder)
            if name.parts[0] == PACKAGE or len(name.parts) == 1:
                build_data["force_include"][str(path)] = str(name)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    compile_here()
