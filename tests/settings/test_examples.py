"""Every settings example in the README and in docs is one that `serve` starts with, without extras unless it says so.

Replaced in an example, because it runs beside whatever else runs: the addresses of the listeners (port 0 of loopback),
the backend's URL (the demo), folders under /var and $PWD (the test's own), and the stores, by running ones of the same
kind. All else is as it stands there.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from invoke_gateway.cli.main import main
from invoke_gateway.settings import Settings
from invoke_gateway.settings.files.yaml_text import PARSER
from tests.support import forking
from tests.support.clusters import Watched, watched_store
from tests.support.processes import LOOPBACK, bare_environment, wait_until
from tests.support.sockets import Wire, backend, fetch, invoke
from tests.support.stores import running_store

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "grafana", "loadtests")), ROOT / "docs"]
FILES = sorted(file for page in PAGES for file in ([page] if page.is_file() else page.rglob("*.md")))
KEYS = {field.alias or name for name, field in Settings.model_fields.items()}
OTHER_DOCUMENTS = {"services", "problems"}  # a key of compose files, and of the report of `check`
INSTALL = "pip install boto3"
ALLOW = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
BLOCK = re.compile(r"^```(?:ya?ml|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HERE_DOCUMENT = re.compile(r"> \S+\.ya?ml <<-?'?(\w+)'?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    place: str
    text: str


def examples() -> list[Example]:
    found = []
    for file in FILES:
        page = file.read_text()
        blocks = [block[1] for block in BLOCK.finditer(page)] + [block[2] for block in HERE_DOCUMENT.finditer(page)]
        found += [Example(f"{file.relative_to(ROOT)} {number}", text) for number, text in enumerate(blocks)]
    for file in sorted([*(ROOT / "docs" / "deploy").rglob("*.y*ml"), *(ROOT / "docs" / "examples").glob("*.yaml")]):
        found += [Example(f"{file.relative_to(ROOT)} {n}", text) for n, text in enumerate(_settings_of(file))]
    return [example for example in found if _is_settings(example.text)]


def _settings_of(file: Path) -> list[str]:
    """The file itself, and files within a ConfigMap."""
    text = file.read_text()
    maps = [one for one in yaml.load_all(text, PARSER) if isinstance(one, dict) and one.get("kind") == "ConfigMap"]
    within = [value for one in maps for value in one.get("data", {}).values()]
    return within or [text]


def _is_settings(text: str) -> bool:
    try:
        values = yaml.load(text, PARSER)
    except yaml.YAMLError:  # several documents, or lines of JSON
        return False
    return isinstance(values, dict) and bool(set(values) & KEYS) and not set(values) & OTHER_DOCUMENTS


EXAMPLES = examples()
EACH = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.place)


STORE_URL = re.compile(r"\bredis(\+sentinel)?://[^\s/?]+(/mymaster)?")


@contextmanager
def running_stores(text: str) -> Iterator[str]:
    """Starts a store where the example names one, and yields the example with its address; the example as it is, else.

    The store gets the state of one that has not just started. Else the gateway would wait for a lease."""
    named = [line for line in text.splitlines() if re.match(r"(counters|  store): ", line)]
    kinds = {bool(found[1]) for line in named if (found := STORE_URL.search(line))}
    if not kinds:
        yield text
        return
    (is_watched,) = kinds
    with watched_store("valkey") if is_watched else running_store("valkey", is_tcp=True) as started:
        (started.primary if isinstance(started, Watched) else started).clear("000000000000")
        address = re.sub(r"/0$", "", started.url)
        yield STORE_URL.sub(address, text)


@contextmanager
def running_backend(text: str) -> Iterator[str]:
    """Starts a backend for an example that renames functions, because the demo has none of that name."""
    renamed = re.search(r"^ +function_path: (\w+)", text, re.MULTILINE)
    if not renamed:
        yield text
        return
    with backend() as started:
        yield re.sub(r"^( +url:) http\S+", rf"\1 {started.backend.url}", text, flags=re.MULTILINE)
        targets = {call.target.decode() for call in started.forwarded()}
        assert f"/2015-03-31/functions/{renamed[1]}/invocations" in targets


def with_replacements(text: str, folder: Path) -> str:
    for key in ("listen", "admin"):
        text, times = re.subn(rf"^{key}: \S+", f"{key}: {LOOPBACK}:0", text, flags=re.MULTILINE)
        text = text if times else f"{key}: {LOOPBACK}:0\n{text}"
    if "function_path" not in text:
        text = re.sub(r"^( +url:) http\S+", r"\1 demo", text, flags=re.MULTILINE)
    return with_files(re.sub(r"/var/(lib|log)|\$PWD", str(folder), text), folder)


KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "unused"}
"""Credentials of a gateway that signs. The demo backend verifies none."""


def with_files(text: str, folder: Path) -> str:
    """Makes what the reader of a page has: the secrets in variables, and the files of policies."""

    def make(name: str, content: str) -> Path:
        file = folder / name.replace("/", "-")
        file.write_text(content)
        file.chmod(0o600)
        return file

    text = re.sub(r"\benv:(\w+)", lambda found: f"file:{make(found[1], 'secret')}", text)

    def make_policy(found: re.Match[str]) -> str:
        statement = ALLOW | ({"Principal": "*"} if found[1] else {})
        return f"{found[1]}{make(found[2], json.dumps({'Version': '2012-10-17', 'Statement': [statement]}))}"

    return re.sub(r"(resource_policy: |(?<=\[))([\w/-]+\.json)\b", make_policy, text)


def serve(text: str, folder: Path, *, bare: bool) -> subprocess.Popen[bytes]:
    file = folder / "gateway.yaml"
    file.write_text(with_replacements(text, folder))
    command = [
        sys.executable,
        "-m",
        "tests.settings.without_boto3" if bare else "invoke_gateway",
        "serve",
        "--config",
        str(file),
    ]
    with (folder / "log").open("wb") as log:
        environment = bare_environment(folder) | KEYS
        return forking.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=log)


def test_the_examples_are_found() -> None:
    places = {example.place.split()[0] for example in EXAMPLES}
    assert {
        "docs/reference/settings.md",
        "docs/guides/async.md",
        "docs/guides/async-targets.md",
        "docs/guides/recursion.md",
    } <= places
    overlays = {f"docs/deploy/kubernetes/overlays/{name}/settings/gateway.yaml" for name in ("single", "shared")}
    assert {"docs/deploy/settings/gateway.yaml", *overlays} <= places
    names = ("local-development", "teams", "high-availability", "single-call-runtimes")
    assert {f"docs/examples/{name}.yaml" for name in names} <= places


@EACH
def test_an_example_serves(example: Example, tmp_path: Path) -> None:
    """One that needs an extra says on its own lines which, and is refused with that cure without it."""
    needs_extra = INSTALL in example.text
    log = tmp_path / "log"
    if needs_extra:
        refused = serve(example.text, tmp_path, bare=True)
        assert refused.wait(60) == 2
        assert INSTALL in log.read_text()
    with running_stores(example.text) as with_store, running_backend(with_store) as text:
        process = serve(text, tmp_path, bare=not needs_extra)
        try:

            def port_of(pattern: str) -> int:
                assert process.poll() is None, log.read_text()
                found = re.search(pattern, log.read_text())
                return int(found[1]) if found else 0

            wait_until(lambda: port_of(r"admin on http://\S+?:(\d+)"), "admin on …", timeout=60)
            admin = port_of(r"admin on http://\S+?:(\d+)")
            wait_until(lambda: fetch(admin, "/readyz").status == 200, "it is ready")
            with Wire(port_of(r"Invoke API on http://\S+?:(\d+)")) as wire:
                # Where signatures are verified, a call without one is refused.
                assert wire.send(invoke("echo")).answer().status == (403 if "signatures: verify" in text else 200)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


@EACH
def test_an_example_passes_the_check(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "gateway.yaml"
    file.write_text(with_replacements(example.text, tmp_path))
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == 0, result.output


def served_commands() -> list[str]:
    blocks = [
        block for file in FILES for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", file.read_text(), re.M | re.S)
    ]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return sorted(set(re.findall(r"invoke-gateway (serve [^\n]*)", joined)))


@pytest.mark.parametrize("line", served_commands())
def test_a_command_that_a_page_shows_has_settings_without_mistakes(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the start, which the server's stand-in takes."""
    started: list[Any] = []
    server = ModuleType("invoke_gateway.server.run")
    server.run = lambda settings, **_: started.append(settings) or 0  # type: ignore[attr-defined]  # a stand-in's
    monkeypatch.setitem(sys.modules, "invoke_gateway.server.run", server)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").touch()
    line = re.sub(r"/var/(lib|log)(/invoke-gateway)?", str(tmp_path), line)
    arguments = shlex.split(re.split(r" 2>| &|\s#", line)[0])
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(started) == 1
