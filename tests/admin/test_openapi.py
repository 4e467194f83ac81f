"""docs/reference/admin-api.yaml has every route of the admin listener, and each example is a call that works."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from invoke_gateway.admin.access import AccessRules, AdminAccess
from invoke_gateway.settings.files.yaml_text import PARSER
from tests.support.processes import LOOPBACK, bare_environment, free_port, running, wait_until

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.load((ROOT / "docs" / "reference" / "admin-api.yaml").read_text(), PARSER)
# Those that make something come before those that show it. Those that end one thing, and those that end all, are last.
ORDER = ("post", "get", "delete")
CALLS = sorted(
    ((method, path, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()),
    key=lambda call: (ORDER.index(call[0]), call[0] == "delete" and "{" not in call[1]),
)
EVENT = "7e0f1c52-3a4b-4c5d-8e6f-123456789abc"
ROUTES = re.compile(r'Route\("([^"]+)"(?:, self\.\w+(?:\.\w+)?)(?:, methods=\[([^\]]+)\])?')


def send(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str, bytes]:
    """Returns status, content type and body; of a stream of events the first line."""
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", data, headers, method=method.upper())
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            kind = answer.headers.get_content_type()
            return answer.status, kind, answer.readline() if kind == "text/event-stream" else answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[tuple[int, int]]:
    listen, admin = free_port(), free_port()
    where = ["--listen", f"{LOOPBACK}:{listen}", "--admin", f"{LOOPBACK}:{admin}"]
    command = [sys.executable, "-m", "invoke_gateway", "serve", "--backend", "demo", *where, *flags]
    environment = bare_environment(folder) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with running(command, folder / "gateway.log", environment, folder) as gateway:
        gateway.wait_until(lambda: send(admin, "get", "/readyz")[0] == 200, "the gateway is ready")
        yield listen, admin


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The admin port of a gateway with a running call, a refusal, an event in retry and one that has ended."""
    with serving(tmp_path_factory.mktemp("one"), "--reserve", "sleep=2") as (listen, admin):

        def invoke(function: str, body: object, **headers: str) -> int:
            return send(listen, "post", f"/2015-03-31/functions/{function}/invocations", body, **headers)[0]

        def sleep() -> None:
            with suppress(OSError):  # the gateway ends before the call
                invoke("sleep", {"seconds": 60})

        assert (
            send(admin, "post", "/holds", {"function": "sleep", "slots": 2}, content_type="application/json")[0] == 201
        )
        assert invoke("sleep", {"seconds": 0}) == 429
        assert send(admin, "delete", "/holds/1")[0] == 204
        assert invoke("fail", {}, x_amz_invocation_type="Event", x_amzn_requestid=EVENT) == 202
        assert invoke("echo", {}, x_amz_invocation_type="Event") == 202
        threading.Thread(target=sleep, daemon=True).start()
        wait_until(lambda: b'"request_id"' in send(admin, "get", "/in-flight?function=sleep")[2], "the call runs")
        wait_until(lambda: json.loads(send(admin, "get", "/queue")[2])["retrying"] == 1, "the event is in retry")
        wait_until(lambda: json.loads(send(admin, "get", "/queue/history")[2])["events"], "the other has ended")
        yield admin


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The admin port of a gateway with two workers."""
    with serving(tmp_path_factory.mktemp("two"), "--workers", "2") as (_, admin):
        yield admin


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The admin port of a gateway that verifies signatures."""
    folder = tmp_path_factory.mktemp("verified")
    secret = folder / "secret"
    secret.write_text("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    secret.chmod(0o600)
    alice = {"secret": f"file:{secret}", "arn": "arn:aws:iam::111122223333:user/alice"}
    file = folder / "gateway.json"
    file.write_text(json.dumps({"signatures": "verify", "callers": {"AKIAIOSFODNN7EXAMPLE": alice}}))
    with serving(folder, "--config", str(file)) as (_, admin):
        yield admin


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_it_has_every_route_and_no_other() -> None:
    sources = [*(ROOT / "gateway" / "invoke_gateway" / "admin").glob("*.py")]
    sources.append(ROOT / "gateway" / "invoke_gateway" / "workers" / "admin.py")
    routes = set()
    for source in sources:
        for path, methods in ROUTES.findall(source.read_text()):
            for method in re.findall(r"\w+", methods) or ["GET"]:
                routes.add((method.lower(), path.replace(":int", "")))
    assert len(routes) > 20
    assert {(method, path) for method, path, _ in CALLS} == routes


def test_it_says_which_calls_need_the_token() -> None:
    """As the listener decides, with `admin_reads: token`."""
    access = AdminAccess(AccessRules("right", reads_need_token=True), is_loopback=True)
    for method, path, operation in CALLS:
        needs_token = access.find_refusal(method.upper(), path, []) is not None
        assert (operation["security"] != []) is needs_token, (method, path)
        assert ("401" in operation["responses"]) is needs_token, (method, path)
        assert all(scheme in ({}, {"adminToken": []}) for scheme in operation["security"])


@pytest.mark.parametrize(("method", "path", "operation"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
def test_the_example_of_a_call_is_answered_as_described(
    method: str, path: str, operation: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    admin = request.getfixturevalue(operation.get("x-needs", "gateway"))
    query = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        else:
            query.append(f"{parameter['name']}={parameter['example']}")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    headers = {} if body is None else {"content_type": "application/json"}
    status, kind, answer = send(admin, method, "?".join([path, *(["&".join(query)] if query else [])]), body, **headers)
    described = operation["responses"].get(str(status))
    assert described is not None, (status, answer[:500])
    content = described.get("content")
    if content is None:
        assert answer == b""
        return
    assert kind in content
    if kind == "application/json":
        document = json.loads(answer)
        Draft202012Validator(content[kind]["schema"]).validate(document)
        if "example" in content[kind]:
            Draft202012Validator(content[kind]["schema"]).validate(content[kind]["example"])
            assert set(document) == set(content[kind]["example"])
    else:
        assert answer
