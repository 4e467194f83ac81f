"""Starts the subjects that accept events over HTTP, each in its own folder, and restarts them there after a kill."""

import base64
import io
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtests.bench import calls, machine
from loadtests.bench.peers import VENV, Peer, Place
from loadtests.bench.processes import Process, Trouble
from loadtests.bench.queue.sending import event
from loadtests.bench.stage import Stage

FUNCTION = "echo"
STORE = "queue.db"
START_SECONDS = 30.0
# A hold of the gateway ends by itself after this; nothing here takes so long.
HOLD_SECONDS = 3600
NODE = Path(".cache") / "bench-queue"
NPM_SECONDS = 180


@dataclass(frozen=True)
class Started:
    """Describes a subject that listens and has the function. `function`: the name to call."""

    process: Process
    place: Place
    function: str = FUNCTION

    def request(self, body: str = calls.ANSWER, function: str | None = None) -> Path:
        """Writes a file with the bytes of an Event invocation."""
        path = self.place.directory / "request"
        path.write_bytes(event(function or self.function, self.place.port, body))
        return path


@dataclass(frozen=True)
class Subject:
    """Describes a subject. `start` starts it in a place, which may be one that it used before."""

    name: str
    about: str
    start: Callable[[Stage, Place], Started]


def start_gateway(stage: Stage, place: Place, peer: Peer, *flags: str) -> Started:
    """Starts a gateway without request rates, and waits until it is ready. Raises Trouble."""
    store = "--async-store=sqlite:///" + str(place.directory / STORE).lstrip("/")
    more = ("--async-mode=queue", store, "--requests-per-second=off", *flags)
    process = stage.spawn(replace(peer, arguments=(*peer.arguments, *more)), place)
    deadline = time.monotonic() + START_SECONDS
    while not is_ready(place.admin):
        process.check()
        if time.monotonic() > deadline:
            raise Trouble(f"the gateway was not ready within {START_SECONDS:.0f} s")
        time.sleep(0.01)
    return Started(process, place)


def is_ready(admin: int) -> bool:
    try:
        calls.get_json(admin, "/readyz")
    except (OSError, ValueError):
        return False
    return True


def hold(place: Place, slots: int, function: str | None = None) -> Callable[[], None]:
    """Takes slots, so that no event can run. The returned function releases them. Raises Trouble."""
    wanted = {"slots": slots, "seconds": HOLD_SECONDS} | ({"function": function} if function else {})
    identifier = _ask(place.admin, "POST", "/holds", wanted)["id"]
    return lambda: _ask(place.admin, "DELETE", f"/holds/{identifier}")


def metric(place: Place, name: str) -> float:
    """Returns the sum of a metric over its labels, from the admin listener."""
    with urllib.request.urlopen(f"http://127.0.0.1:{place.admin}/metrics", timeout=10) as answer:
        return sum_of(answer.read().decode(), name)


def sum_of(exposition: str, name: str) -> float:
    lines = (line for line in exposition.splitlines() if line.startswith((name + "{", name + " ")))
    return sum(float(line.rpartition("}")[2].split()[0] if "}" in line else line.split()[1]) for line in lines)


def received(place: Place) -> int:
    """Returns the events that the gateway has accepted since it started."""
    return int(metric(place, "invoke_gateway_async_events_received_total"))


def _start_ministack(stage: Stage, place: Place) -> Started:
    # As in tests/live/servers.py; its state is kept between starts as far as MiniStack can.
    environment = {
        "GATEWAY_PORT": str(place.port),
        "BIND_HOST": "127.0.0.1",
        "LAMBDA_EXECUTOR": "local",
        "SERVICES": "lambda",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(place.directory / "state"),
        "S3_DATA_DIR": str(place.directory / "s3"),
    }
    peer = Peer(
        "MiniStack", str(VENV / "ministack"), (), install="make bench-queue", environment=tuple(environment.items())
    )
    process = stage.spawn(peer, place)
    process.wait_for(place.port, START_SECONDS)
    handler = place.write("events_handler.py").read_bytes()
    definition = {
        "FunctionName": FUNCTION,
        "Runtime": f"python3.{sys.version_info.minor}",
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Handler": "events_handler.handle",
        "Timeout": 300,
        "Code": {"ZipFile": base64.b64encode(_zipped("events_handler.py", handler)).decode()},
    }
    try:
        _ask(place.port, "POST", "/2015-03-31/functions", definition)
    except Trouble as trouble:
        if "409" not in str(trouble):  # it has kept the function over the kill
            raise
    calls.ask_until(place.port, calls.invocation(FUNCTION, place.port), 200, START_SECONDS)  # its cold start is over
    return Started(process, place)


def _start_serverless(stage: Stage, place: Place) -> Started:
    modules = install_serverless(Path.cwd() / NODE)
    place.write("serverless.yml")
    place.write("events_handler.cjs")
    link = place.directory / "node_modules"
    if not link.exists():
        link.symlink_to(modules)
    peer = Peer("serverless-offline", str(shutil.which("node")), (), install="apt install nodejs npm")
    command = [str(modules / "osls" / "bin" / "serverless.js"), "offline", "start"]
    process = stage.processes.start(
        peer.name,
        ["env", "-C", str(place.directory), peer.binary, *command],
        place.directory,
        core=machine.PROXY_CORE,
        environment={"HOME": str(place.directory), "SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"},
    )
    process.wait_for(place.port, START_SECONDS)
    started = Started(process, place, "bench-dev-echo")
    calls.ask_until(place.port, calls.invocation(started.function, place.port), 200, START_SECONDS)
    return started


def install_serverless(folder: Path) -> Path:
    """Returns the node_modules with serverless-offline, fetched with npm if missing. Raises Trouble."""
    modules, stamp = folder / "node_modules", folder / "package.json"
    wanted = (Path(__file__).parent / "package.json").read_bytes()
    if stamp.exists() and stamp.read_bytes() == wanted and (modules / "serverless-offline").exists():
        return modules
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_bytes(wanted)
    # Its peer is the Serverless Framework 4, which wants a login; osls does the same without.
    command = [
        "npm",
        "install",
        "--legacy-peer-deps",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Trouble(f"npm cannot fetch serverless-offline: {error}") from error
    if done.returncode:
        raise Trouble(f"npm cannot fetch serverless-offline: {' '.join(done.stderr.split())[-200:]}")
    return modules


def _zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def _ask(port: int, method: str, path: str, document: Any = None) -> Any:
    """Returns the response's JSON, if any. Raises Trouble."""
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Trouble(f"{method} {path}: {error.code} {error.read()[:200].decode(errors='replace')}") from error
    except OSError as error:
        raise Trouble(f"{method} {path}: {error}") from error
    return json.loads(text) if text else None


MINISTACK = Subject("MiniStack", "runs functions meanwhile, in a Python process", _start_ministack)
SERVERLESS = Subject("serverless-offline", "runs functions meanwhile, in its own process", _start_serverless)
