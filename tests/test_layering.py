"""Who may import whom: the rules of gateway/README.md."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway" / "invoke_gateway"
CONNECTING = ("dialing", "redis_connection")  # to any server, for all who have one
CORE = ("asgi", "invocation", "exchange", "refusals", "faults", "buffers", "policy")
EVERY_FILE = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def imports_of(path: Path) -> tuple[set[str], set[str]]:
    """Modules of the package, relative to it, and top-level names from outside that a file imports at run time."""
    inside, outside = set(), set()
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                assert node.module is not None
                top, _, rest = node.module.partition(".")
                if top == "invoke_gateway":
                    inside |= {rest} if rest else {alias.name for alias in node.names}
                else:
                    outside.add(top)
            else:
                base = package[: len(package) - node.level + 1]
                names = [node.module] if node.module else [alias.name for alias in node.names]
                inside |= {".".join((*base, name)) for name in names}
    return inside, outside - {"__future__"}


def is_in(module: str, *allowed: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


def files_in(*names: str) -> list[Path]:
    return [path for path in EVERY_FILE if is_in(".".join(path.relative_to(ROOT).with_suffix("").parts), *names)]


@pytest.mark.parametrize("path", files_in(*CORE), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_only_itself_and_does_nothing_but_compute(path: Path) -> None:
    inside, outside = imports_of(path)
    assert all(is_in(module, *CORE) for module in inside)
    # msgspec parses JSON without side effects; the rest of the core needs the standard library only.
    allowed = {"msgspec"} if path.name == "json_text.py" else set()
    assert outside <= set(sys.stdlib_module_names) | allowed
    assert not outside & {"asyncio", "time", "socket", "threading"}


@pytest.mark.parametrize("folder", ["counters", "upstream", "telemetry"])
def test_the_engines_know_the_core_but_not_one_another(folder: str) -> None:
    for path in files_in(folder):
        inside, _ = imports_of(path)
        assert all(is_in(module, *CORE, "outbox", "background", *CONNECTING, folder) for module in inside), path


def test_the_queue_of_events_knows_the_core_and_its_own_libraries() -> None:
    """Slots, the chain and targets are handed in."""
    for path in files_in("queue"):
        library = {"redis"} if path.stem.startswith("stream") else set()
        inside, outside = imports_of(path)
        assert all(is_in(module, *CORE, "background", *CONNECTING, "queue") for module in inside), path
        assert outside <= set(sys.stdlib_module_names) | {"msgspec"} | library, path


def test_destinations_know_what_an_event_is_and_nothing_of_who_delivers() -> None:
    libraries = {"boto3", "botocore", "httptools", "msgspec", "redis"}
    for path in files_in("destinations"):
        inside, outside = imports_of(path)
        told = ("queue.base", "queue.event", "queue.records")
        assert all(is_in(module, *CORE, *told, *CONNECTING, "destinations") for module in inside), path
        assert outside <= set(sys.stdlib_module_names) | libraries, path


def test_a_middleware_knows_the_core_and_the_protocols_of_the_engines() -> None:
    for path in files_in("middleware"):
        inside, _ = imports_of(path)
        assert all(is_in(module, *CORE, "counters.base", "queue.base") for module in inside), path


def test_settings_stop_at_the_application() -> None:
    users = {
        path.relative_to(ROOT).parts[0] for path in EVERY_FILE if any(is_in(m, "settings") for m in imports_of(path)[0])
    }
    serving = {"server.py", "serving.py", "startup.py", "listening.py", "binding.py", "reloading.py", "workers"}
    assert users <= {"app.py", *serving, "cli.py", "remote.py", "flags.py", "fault_command.py", "settings"}


def test_the_proof_judges_from_outside_and_only_the_command_line_knows_it() -> None:
    for path in files_in("proving"):
        inside, outside = imports_of(path)
        assert all(is_in(module, "proving") for module in inside), path
        assert outside <= set(sys.stdlib_module_names) | {"click", "msgspec", "rich", "uvloop"}, path
    users = {
        path.relative_to(ROOT).parts[0] for path in EVERY_FILE if any(is_in(m, "proving") for m in imports_of(path)[0])
    }
    assert users == {"cli.py", "proving"}


def test_only_what_serves_it_imports_the_application() -> None:
    users = {path.relative_to(ROOT).parts[0] for path in EVERY_FILE if is_in("app", *imports_of(path)[0])}
    assert users == {"server.py", "serving.py", "workers"}


def test_what_tests_of_others_import_asks_a_gateway_and_has_none_of_it_inside() -> None:
    clients = ("asking", "holding", "faulting", "queueing", "testing")
    for path in files_in(*clients):
        inside, outside = imports_of(path)
        # child.py is the gateway, in a process of its own; click is what `holding` says the seconds with.
        started = {"cli", "flags"} if path.name == "child.py" else set()
        assert all(is_in(module, *clients, *started) for module in inside), path
        assert outside <= set(sys.stdlib_module_names) | {"click"}, path


def test_nothing_of_the_gateway_knows_that_it_is_tested() -> None:
    users = {
        path.relative_to(ROOT).parts[0] for path in EVERY_FILE if any(is_in(m, "testing") for m in imports_of(path)[0])
    }
    assert users <= {"testing"}


def test_every_file_is_on_the_map() -> None:
    text = (ROOT.parent / "README.md").read_text()
    there = [path for path in EVERY_FILE if path.name != "__main__.py"]
    assert [
        str(path) for path in there if not {f"`{path.stem}`", f"`{path.name}`"} & set(re.findall(r"`[^`]+`", text))
    ] == []
