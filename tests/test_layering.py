"""Assert who may import whom: the rules of gateway/README.md. Imports for type checking count like all others."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway" / "invoke_gateway"

CORE = ("asgi", "awaited", "backend_errors", "buffers", "exchange", "invocation", "policy", "refusals")
CONNECTING = ("dialing", "store")

ALLOWED: dict[str, tuple[str, ...]] = {
    "__main__": ("entry",),
    "admin": (
        *CORE,
        "background",
        "control.base",
        "control.bulk",
        "counters.base",
        "counters.holders",
        "queue",
        "telemetry",
    ),
    "admin_client": (),
    "app": (
        *CORE,
        "__init__",
        "admin",
        "aws",
        "background",
        "control",
        "counters",
        "destinations",
        "identity",
        "middleware",
        "outside",
        "queue",
        "settings",
        "state_folder",
        "store.store_name",
        "telemetry",
        "upstream",
        "write_batcher",
    ),
    "asgi": (),
    "awaited": (),
    "aws": (*CORE, "background"),
    "backend_errors": (),
    "background": (),
    "buffers": (),
    "chaos": (),
    "cli": (
        "admin_client",
        "__init__",
        "chaos.command",
        "policy.os_text",
        "policy.permissions.question",
        "secret_source",
        "server",
        "settings",
        "signals",
        "workers.supervisor",
    ),
    "control": (*CORE, "background", "store.errors"),
    "counters": (*CORE, *CONNECTING, "background"),
    "demo": ("asgi", "eventstream", "policy"),
    "destinations": (*CORE, *CONNECTING, "queue.base", "queue.event", "queue.outcomes.destination_records"),
    "dialing": (),
    "entry": ("cli.main", "signals"),
    "eventstream": (),
    "exchange": ("invocation", "policy", "refusals"),
    "identity": ("invocation", "policy.identity"),
    "invocation": (),
    "listener": ("asgi", "exchange", "refusals", "watched_time", "write_batcher"),
    "middleware": (*CORE, "control.base", "counters.base", "counters.pending_slot", "queue.base"),
    "outside": (),
    "policy": ("invocation", "refusals"),
    "queue": (*CORE, *CONNECTING, "background", "state_folder"),
    "refusals": (),
    "server": (
        "__init__",
        "admin",
        "app",
        "asgi",
        "admin_client",
        "aws.credential_sources",
        "background",
        "control.base",
        "demo",
        "destinations.sqs",
        "identity",
        "listener",
        "policy",
        "queue",
        "secret_source",
        "settings",
        "signals",
        "store.connection_options",
        "store.errors",
        "store.server_program",
        "store.store_name",
        "telemetry",
        "write_batcher",
    ),
    "secret_source": (),
    "settings": ("policy", "secret_source"),
    "signals": (),
    "state_folder": (),
    "store": ("dialing", "policy.store_url", "policy.os_text"),
    "telemetry": (*CORE, "counters.base"),
    # child.py is the gateway, in a process of its own
    "testing": ("admin_client", "cli.main", "secret_source", "settings"),
    "upstream": (*CORE, "dialing", "watched_time", "write_batcher"),
    "workers": (
        *CORE,
        "__init__",
        "admin",
        "app",
        "background",
        "counters",
        "queue",
        "server",
        "settings",
        "state_folder",
        "store.server_program",
        "store.store_name",
        "telemetry",
        "upstream.health",
    ),
    "watched_time": (),
    "write_batcher": (),
}
"""What the files of a folder, or a file at the top, may import of the package besides themselves."""

INNER: dict[str, tuple[str, ...]] = {
    "admin.live": ("admin", "background", "counters.base", "policy", "queue.base", "telemetry.totals"),
    "chaos.events": ("chaos",),
    "chaos.faults": ("chaos.calls", "chaos.cluster", "chaos.node", "chaos.quotas", "chaos.store", "chaos.wire"),
    "chaos.judging": (
        "chaos.backend",
        "chaos.backend_server",
        "chaos.calls",
        "chaos.faults",
        "chaos.quotas",
        "chaos.scheduler_lag",
        "chaos.wire",
    ),
    "chaos.report": ("chaos",),
    "chaos.traffic": (
        "chaos.backend",
        "chaos.calls",
        "chaos.cluster",
        "chaos.faults",
        "chaos.judging",
        "chaos.quotas",
        "chaos.target",
        "chaos.wire",
    ),
    "cli.output": ("policy.os_text", "settings"),
    "counters.shared": (
        "background",
        "counters.base",
        "counters.holders",
        "counters.local_slots",
        "counters.pending_slot",
        "counters.rates",
        "policy",
        "store",
    ),
    "policy.control": ("invocation", "policy.arn", "policy.requests", "refusals"),
    "policy.events": ("policy.arn", "policy.os_text", "policy.payloads", "policy.store_url"),
    "policy.identity": ("invocation", "policy", "refusals"),
    "policy.payloads": ("invocation", "refusals"),
    "policy.permissions": ("invocation", "policy.arn", "policy.control.paths"),
    "policy.requests": ("invocation", "policy.arn", "policy.payloads", "refusals"),
    "queue.outcomes": (
        "backend_errors",
        "policy",
        "queue.base",
        "queue.event",
        "queue.scheduling",
    ),
    "queue.redis": ("background", "policy.store_url", "queue.base", "queue.event", "store"),
    "queue.sqlite": ("policy.os_text", "queue.base", "queue.clock", "queue.event"),
    "queue.scheduling": ("policy", "queue.base", "queue.event", "queue.origin"),
    "settings.files": ("policy.payloads", "settings.paths", "settings.problems"),
    "settings.models": (
        "secret_source",
        "policy",
        "settings.descriptions",
        "settings.merge",
        "settings.quantities",
    ),
    "telemetry.logs": (
        "asgi",
        "exchange",
        "invocation",
        "policy",
        "telemetry.event_totals",
        "telemetry.frequent",
        "telemetry.totals",
    ),
}
"""The narrower rules of the folders inside a folder."""

RULES = {**ALLOWED, **INNER}

LIBRARIES: dict[str, set[str]] = {
    "admin": {"msgspec", "starlette"},
    "aws": {"botocore"},
    "control": {"msgspec"},
    "chaos": {"click", "msgspec", "rich", "uvloop"},
    "cli": {"click", "pydantic_core", "rich"},
    "counters": {"aiolimiter", "msgspec", "redis"},
    "demo": {"msgspec"},
    "destinations": {"boto3", "botocore", "httptools", "msgspec", "redis"},
    "dialing": {"aiohappyeyeballs"},
    "entry": {"click"},
    "listener": {"httptools", "uvicorn"},
    "policy": {"msgspec"},  # parses JSON, and holds values, without side effects
    "outside": {"botocore"},
    "queue": {"msgspec"},
    "queue.redis": {"redis"},
    "server": {"uvicorn", "uvloop", "watchfiles"},
    "settings": {"click", "msgspec", "pydantic", "pydantic_core", "yaml"},
    "store": {"redis"},
    "telemetry": {"msgspec", "prometheus_client"},
    "upstream": {"httptools"},
    "workers": {"msgspec", "starlette"},
}
"""What they may import besides the standard library. A folder in a folder may import more."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def resolve(node: ast.ImportFrom, package: str) -> str | None:
    """Return the module of this package that `node` imports from, or None where it is another's."""
    if node.level:
        parts = package.split(".") if package else []
        base = parts[: len(parts) - node.level + 1]
        return ".".join([*base, node.module] if node.module else base)
    top, _, rest = (node.module or "").partition(".")
    return rest if top == ROOT.name else None


@cache
def imports_of(name: str) -> tuple[set[str], set[str]]:
    """Return the modules of this package that a module imports, and the top names of all others."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    inside, outside = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve(node, package)
            if module is None:
                outside.add(str(node.module).split(".")[0])
                continue
            for alias in node.names:
                whole = f"{module}.{alias.name}".lstrip(".")
                inside.add(whole if whole in FILES else module or "__init__")
    return inside - {name}, outside - {"__future__"} - set(sys.stdlib_module_names)


def is_in(module: str, *allowed: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


def named(*folders: str) -> Iterator[str]:
    return (name for name in FILES if is_in(name, *folders))


def find_cycle(imports: dict[str, Iterable[str]]) -> list[str]:
    """Return one cycle of a graph, in the order of its imports; an empty list where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def folder_of(name: str) -> str:
    """Return the folder of a module; a module at the top, which is no folder, stands for itself."""
    path = FILES[name]
    return name if path.name == "__init__.py" else name.rpartition(".")[0] or name


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: imports_of(name)[0] for name in FILES}
    assert find_cycle(graph) == []


def test_no_folder_imports_itself_by_way_of_others() -> None:
    """A folder and the folders inside it are one: `chaos` runs what `chaos/events` adds, which builds on `chaos`."""
    graph: dict[str, set[str]] = {}
    for name in FILES:
        for one in imports_of(name)[0]:
            importing, other = folder_of(name), folder_of(one)
            if not (is_in(importing, other) or is_in(other, importing)):
                graph.setdefault(importing, set()).add(other)
    assert find_cycle({name: sorted(others) for name, others in graph.items()}) == []


def test_each_folder_has_a_rule() -> None:
    with_code = {folder_of(name) for name, path in FILES.items() if path.name != "__init__.py"}
    assert {name.split(".")[0] for name in FILES} | with_code == {*RULES, "__init__"}


@pytest.mark.parametrize("folder", sorted(RULES))
def test_a_folder_imports_what_its_rule_allows(folder: str) -> None:
    against = {
        name: sorted(module for module in imports_of(name)[0] if not is_in(module, folder, *RULES[folder]))
        for name in named(folder)
    }
    assert {name: modules for name, modules in against.items() if modules} == {}


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_the_libraries_that_its_rule_allows(folder: str) -> None:
    against = {}
    for name in named(folder):
        allowed = set[str]().union(*(names for place, names in LIBRARIES.items() if is_in(name, place)))
        against[name] = sorted(imports_of(name)[1] - allowed)
    assert {name: libraries for name, libraries in against.items() if libraries} == {}


def test_no_rule_allows_what_nobody_imports() -> None:
    unused = []
    for folder, allowed in RULES.items():
        imported = set[str]().union(*(imports_of(name)[0] for name in named(folder)))
        shared = (*CORE, *CONNECTING)
        unused += [(folder, one) for one in allowed if one not in shared and not any(is_in(m, one) for m in imported)]
    assert unused == []


@pytest.mark.parametrize("name", [name for name in FILES if is_in(name, *CORE)])
def test_the_core_does_nothing_but_compute(name: str) -> None:
    tree = ast.parse(FILES[name].read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    waits = {"asyncio", "time", "socket", "threading"}
    assert not imported & (waits - ({"asyncio"} if name == "buffers" else set()))


def test_no_class_name_is_defined_in_two_files() -> None:
    found: dict[str, set[str]] = {}
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).add(name)
    assert {name: sorted(files) for name, files in found.items() if len(files) > 1} == {}


def test_no_docstring_opens_with_a_question_word() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    opening = [
        (name, docstring.partition("\n")[0])
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, documented) and (docstring := ast.get_docstring(node))
        if re.match(r"(What|Who|Whether|How|Where|When)\b", docstring)
    ]
    assert opening == []


def test_no_folder_has_more_than_twenty_files() -> None:
    sizes = Counter(folder_of(name) for name in FILES if "." in name)
    assert {folder: size for folder, size in sizes.items() if size > 20} == {}


def test_a_file_above_300_lines_gives_the_reason_at_its_top() -> None:
    silent = []
    for name, path in FILES.items():
        text = path.read_text()
        if len(text.splitlines()) > 300 and "longer than 300 lines" not in (ast.get_docstring(ast.parse(text)) or ""):
            silent.append(name)
    assert silent == []


def test_the_map_has_every_file_under_its_folder_and_no_other() -> None:
    on_map = set()
    folder = ""
    for line in (ROOT.parent / "README.md").read_text().partition("## One invocation")[0].splitlines():
        if heading := re.match(r"### ([a-z]+$)?|`([a-z/]+)/`", line):
            folder = heading[1] or heading[2] or ""
        elif line.startswith("- "):
            on_map |= {f"{folder}/{name}" for name in re.findall(r"`([a-z_]+)`", line.partition(": ")[0])}
    there = {
        f"{'/'.join(path.relative_to(ROOT).parts[:-1])}/{path.stem}"
        for path in FILES.values()
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert (sorted(there - on_map), sorted(on_map - there)) == ([], [])
