"""A process from its begin to its end: standard streams, encodings, and outputs that cannot be written."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import bare_environment, wait_until
from tests.support.served import Served, served
from tests.support.sockets import LOOPBACK, fetch

ROOT = Path(__file__).parent.parent
GATEWAY = [sys.executable, "-m", "invoke_gateway"]
FULL = Path("/dev/full")


def test_the_command_is_entered_where_its_process_is_prepared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"invoke-gateway": "invoke_gateway.entry:main"}


def test_nothing_heavy_is_imported_before_signals_are_handled() -> None:
    code = "import sys; before = set(sys.modules); import invoke_gateway.entry; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"typing", "click", "asyncio", "pydantic", "importlib.metadata"} & set(done.stdout.split())


def test_modules_load_without_collections_of_garbage_between_them() -> None:
    code = "import gc, sys; from invoke_gateway.entry import main; sys.argv[1:] = ['schema']\n"
    code += "count = lambda: sum(generation['collections'] for generation in gc.get_stats()); before = count()\n"
    code += "try: main()\nfinally: print(count() - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout.split()[-1]) < 20  # about a hundred, with the threshold of the interpreter


# ---- standard streams -------------------------------------------------------------------------------------------

CLOSED = [
    pytest.param(closed, marks=() if count in (1, 3) else pytest.mark.soak)
    for count in (1, 2, 3)
    for closed in itertools.combinations((0, 1, 2), count)
]


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_streams_that_are_closed_at_the_start_are_no_matter(closed: tuple[int, ...], tmp_path: Path) -> None:
    """A socket that gets their number would be written to, and closed, as a stream."""
    shell = 'exec "$@" ' + " ".join(f"{file}{'<' if file == 0 else '>'}&-" for file in closed)
    with served(tmp_path, prefix=["sh", "-c", shell, "sh"]) as gateway:
        pid = gateway.process.pid
        if 2 not in closed:
            gateway.until_up()
        else:
            wait_until(lambda: count_listening(pid) == 3, "it listens", timeout=60)
        for file in closed:
            assert os.readlink(f"/proc/{pid}/fd/{file}") == os.devnull
        assert gateway.stop() == 0


def count_listening(pid: int) -> int:
    inodes = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and f"socket:[{row[9]}]" in inodes for row in rows)


# ---- outputs that cannot be written -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway"), "--faults") as gateway:
        yield gateway.until_up()


ASKS = ("--admin", "ADMIN")
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "version": ("--version",),
    "help of serve": ("serve", "--help"),
    "help of prove": ("prove", "--help"),
    "schema": ("schema",),
    "check": ("check", "FILE"),
    "limits": ("limits", "--once", *ASKS),
    "limits as JSON": ("limits", "--json", *ASKS),
    "in-flight": ("in-flight", *ASKS),
    "in-flight as JSON": ("in-flight", "--json", *ASKS),
    "queue": ("queue", *ASKS),
    "queue list": ("queue", "list", *ASKS),
    "fault": ("fault", "echo", "pass 1", *ASKS),
    "fault --list": ("fault", "--list", *ASKS),
    "hold": ("hold", "echo", "--seconds", "60", *ASKS),
    "hold --detach": ("hold", "echo", "--detach", "--seconds", "60", *ASKS),
}
"""Each command with an output. What is in capitals stands for where the gateway is."""

KINDS = {"help", "check", "limits", "queue list", "fault", "hold"}
"""One command of each way to write an output. `make soak` runs all others too: each is a process of its own."""

EACH = [pytest.param(name, marks=() if name in KINDS else pytest.mark.soak) for name in COMMANDS]


def resolve(name: str, gateway: Served) -> list[str]:
    known = {"ADMIN": f"{LOOPBACK}:{gateway.admin}", "FILE": str(gateway.file)}
    return [known.get(word, word) for word in COMMANDS[name]]


def run(arguments: Sequence[str], folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**bare_environment(folder), **more.pop("environment", {})}
    given = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
    return subprocess.run(
        [*GATEWAY, *arguments],
        text=True,
        errors="replace",
        timeout=100,
        cwd=folder,
        env=environment,
        check=False,
        **given,
    )


def held(gateway: Served) -> int:
    holds: list[Any] = fetch(gateway.admin, "/holds").json["holds"]
    return len(holds)


@pytest.mark.parametrize("name", EACH)
def test_an_output_without_room_is_one_line_and_a_status(name: str, running: Served, tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = run(resolve(name, running), tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "invoke-gateway: the output cannot be written: No space left on device\n"
    assert held(running) == 0


@pytest.mark.parametrize("name", EACH)
def test_a_reader_that_has_gone_is_no_error_message(name: str, running: Served, tmp_path: Path) -> None:
    out, into = os.pipe()
    os.close(out)
    try:
        done = run(resolve(name, running), tmp_path, stdout=into)
    finally:
        os.close(into)
    assert (done.returncode, done.stderr.strip()) == (1, "")
    assert held(running) == 0


@pytest.mark.parametrize("name", ["help", "schema", "limits", "fault", "hold --detach"])
def test_outputs_that_are_closed_are_no_matter(name: str, running: Served, tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *GATEWAY, *resolve(name, running)]
    done = subprocess.run(command, cwd=tmp_path, env=bare_environment(tmp_path), timeout=100, check=False)
    assert done.returncode == 0
    for hold in fetch(running.admin, "/holds").json["holds"]:
        run(["release", hold["id"], "--admin", f"{LOOPBACK}:{running.admin}"], tmp_path)


@pytest.mark.parametrize("arguments", [["check", "missing.yaml"], ["no-such-command"], ["serve", "--listen", "x"]])
def test_a_mistake_that_cannot_be_told_is_a_status(arguments: list[str], tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = run(arguments, tmp_path, stdout=full, stderr=full)
    assert done.returncode in (1, 2)


# ---- encodings --------------------------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
NARROW = [
    ASCII,
    *(pytest.param({"PYTHONIOENCODING": name}, marks=pytest.mark.soak) for name in ("ascii", "latin-1:strict")),
]
LOCALES = [
    {"LC_ALL": "C"},
    ASCII,
    pytest.param({"LC_ALL": "POSIX"}, marks=pytest.mark.soak),
    pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0"}, marks=pytest.mark.soak),
]


@pytest.mark.parametrize("environment", NARROW, ids=str)
@pytest.mark.parametrize("name", [one for one in EACH if one.values[0] not in ("hold", "hold --detach")])
def test_no_encoding_ends_a_command(name: str, environment: dict[str, str], running: Served, tmp_path: Path) -> None:
    done = run(resolve(name, running), tmp_path, stdout=subprocess.PIPE, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    if name == "schema":
        json.loads(done.stdout)


@pytest.mark.parametrize("environment", LOCALES, ids=str)
def test_paths_beyond_ascii_are_served_whatever_the_locale_is(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "Läden…"
    folder.mkdir()
    file = folder / "gäteway.yaml"
    values = {
        "listen": f"{LOOPBACK}:0",
        "admin": f"{LOOPBACK}:0",
        "backend": {"url": "demo"},
        "async": {"store": f"sqlite://{folder}/évents.db"},
    }
    file.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    checked = run(["check", str(file)], tmp_path, stdout=subprocess.PIPE, environment=environment)
    assert (checked.returncode, checked.stderr) == (0, "")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*GATEWAY, "serve", "--config", str(file)],
            stderr=output,
            env={**bare_environment(tmp_path), **environment},
            cwd=tmp_path,
        )
    try:
        wait_until(lambda: "backend demo" in log.read_text(errors="replace"), "it serves", timeout=60)
        assert (folder / "évents.db").exists()
        process.terminate()
        assert process.wait(60) == 0
        assert "Traceback" not in log.read_text(errors="replace")
    finally:
        process.kill()
        process.wait()
