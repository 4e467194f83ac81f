"""Runs a gateway before a backend that has functions, versions and aliases, as Lambda's control plane does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from invoke_gateway.policy.control.paths import parse_name
from invoke_gateway.policy.control.state import ControlState

from .backends import BackendCall
from .sockets import PATIENCE, Gateway

REGION, ACCOUNT = "us-east-1", "000000000000"


def arn_of(name: str, qualifier: str | None = None, account: str = ACCOUNT) -> str:
    arn = f"arn:aws:lambda:{REGION}:{account}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


class LambdaBackend:
    """Answers the control operations that a gateway asks for or passes on. It knows nothing of concurrency.

    functions: the published versions of each function
    aliases: the version and the weights of each alias, by function and alias
    asked: the operations that were answered, as method and path
    """

    def __init__(self, *functions: str) -> None:
        self.functions: dict[str, list[str]] = {name: [] for name in functions}
        self.aliases: dict[tuple[str, str], tuple[str, dict[str, float]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.account_settings: dict[str, Any] | None = None
        self.concurrency: dict[str, Any] | None = {"ReservedConcurrentExecutions": 77}

    def answer(self, call: BackendCall) -> bool:
        """Answers a control operation; returns False for any other request."""
        parts = urlsplit(call.target.decode())
        method, segments = call.method.decode(), [unquote(part) for part in parts.path.split("/")[1:]]
        if segments[-1] in ("invocations", "invoke-async", "response-streaming-invocations"):
            return False
        self.asked.append((method, parts.path))
        query = parse_qs(parts.query)
        qualifier = query.get("Qualifier", [None])[0]
        match (method, *segments[1:]):
            case ("GET", "account-settings") if self.account_settings is not None:
                send_json(call, 200, self.account_settings)
            case ("POST", "functions"):
                name = json.loads(call.body)["FunctionName"]
                self.functions[name] = []
                send_json(call, 201, {"FunctionName": name, "FunctionArn": arn_of(name)})
            case ("GET", "functions", text):
                self._get(call, text, qualifier)
            case ("DELETE", "functions", text):
                self._delete(call, text, qualifier)
            case ("GET", "functions", text, "aliases"):
                self._list_aliases(call, parse_name(text).name, query.get("FunctionVersion", [None])[0])
            case ("POST", "functions", text, "aliases"):
                wanted = json.loads(call.body)
                self._set_alias(parse_name(text).name, wanted["Name"], wanted)
                send_json(call, 201, self._describe_alias(parse_name(text).name, wanted["Name"]))
            case (_, "functions", text, "aliases", alias):
                self._serve_alias(call, parse_name(text).name, alias)
            case _:
                send_json(
                    call, 404, {"message": f"no such operation: {method} {parts.path}"}, "UnknownOperationException"
                )
        return True

    def _get(self, call: BackendCall, text: str, asked: str | None) -> None:
        function = parse_name(text)
        name, qualifier = function.name, asked or function.qualifier
        known = ("$LATEST", *self.functions.get(name, ()), *(a for f, a in self.aliases if f == name))
        if name not in self.functions or (qualifier and qualifier not in known):
            _send_not_found(call, arn_of(name, qualifier))
            return
        document: dict[str, Any] = {
            "Configuration": {"FunctionName": name, "State": "Active", "Timeout": 3, "Odd": 1e2},
            "Code": {},
            "Tags": {},
        }
        if self.concurrency is not None:
            document["Concurrency"] = self.concurrency
        send_json(call, 200, document)

    def _delete(self, call: BackendCall, text: str, asked: str | None) -> None:
        function = parse_name(text)
        qualifier = asked or function.qualifier
        if function.name not in self.functions:
            _send_not_found(call, arn_of(function.name))
        elif qualifier:
            self.functions[function.name].remove(qualifier)
            call.answer(204, b"")
        else:
            del self.functions[function.name]
            call.answer(204, b"")

    def _serve_alias(self, call: BackendCall, name: str, alias: str) -> None:
        if (name, alias) not in self.aliases:
            send_json(call, 404, {"Type": "User", "Message": f"Cannot find alias arn: {arn_of(name, alias)}"}, _MISSING)
        elif call.method == b"DELETE":
            del self.aliases[name, alias]
            call.answer(204, b"")
        else:
            if call.method == b"PUT":
                self._set_alias(name, alias, json.loads(call.body))
            send_json(call, 200, self._describe_alias(name, alias))

    def _set_alias(self, name: str, alias: str, wanted: dict[str, Any]) -> None:
        weights = (wanted.get("RoutingConfig") or {}).get("AdditionalVersionWeights", {})
        self.aliases[name, alias] = (wanted["FunctionVersion"], weights)

    def _describe_alias(self, name: str, alias: str) -> dict[str, Any]:
        version, weights = self.aliases[name, alias]
        document = {"AliasArn": arn_of(name, alias), "Name": alias, "FunctionVersion": version}
        return {**document, "RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else document

    def _list_aliases(self, call: BackendCall, name: str, version: str | None) -> None:
        rows = [
            self._describe_alias(of, alias)
            for (of, alias), (points_to, _) in self.aliases.items()
            if of == name and version in (None, points_to)
        ]
        send_json(call, 200, {"Aliases": rows})


_MISSING = "ResourceNotFoundException"


def _send_not_found(call: BackendCall, arn: str) -> None:
    send_json(call, 404, {"Type": "User", "Message": f"Function not found: {arn}"}, _MISSING)


def send_json(call: BackendCall, status: int, document: dict[str, Any], error: str | None = None) -> None:
    headers = {"Content-Type": "application/json", **({"x-amzn-ErrorType": error} if error else {})}
    call.answer(status, json.dumps(document).encode(), headers)


class FollowedBackend(LambdaBackend):
    """Has concurrency settings of its own.

    reserved, provisioned, rules: what it answers, by function
    status: the status of all these answers
    readings: the lists of functions that were asked for
    lists_provisioned: it has ListProvisionedConcurrencyConfigs
    """

    def __init__(self, *functions: str) -> None:
        super().__init__(*functions)
        self.reserved: dict[str, int] = {}
        self.provisioned: dict[str, list[dict[str, Any]]] = {}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        self.status = 200
        self.lists_provisioned = True
        self.readings = 0

    def answer(self, call: BackendCall) -> bool:
        parts = urlsplit(call.target.decode())
        segments = [unquote(part) for part in parts.path.split("/")[2:]]
        if call.method != b"GET" or segments[:1] != ["functions"] or len(segments) == 2:
            return super().answer(call)
        if self.status != 200:
            send_json(call, self.status, {"message": "no"})
        elif segments == ["functions"]:
            self._list(call, parse_qs(parts.query).get("Marker", ["0"])[0])
        elif segments[2:] == ["concurrency"]:
            name = segments[1]
            document = {"ReservedConcurrentExecutions": self.reserved[name]} if name in self.reserved else {}
            send_json(call, 200, document)
        elif segments[2:] == ["provisioned-concurrency"] and self.lists_provisioned:
            send_json(call, 200, {"ProvisionedConcurrencyConfigs": self.provisioned.get(segments[1], [])})
        elif segments[2:] == ["event-invoke-config", "list"]:
            send_json(call, 200, {"FunctionEventInvokeConfigs": self.rules.get(segments[1], [])})
        else:
            return super().answer(call)
        return True

    def _list(self, call: BackendCall, marker: str) -> None:
        """Lists two functions a page."""
        names, start = sorted(self.functions), int(marker)
        if not start:
            self.readings += 1
        page = [{"FunctionName": name, "FunctionArn": arn_of(name)} for name in names[start : start + 2]]
        more = {"NextMarker": str(start + 2)} if len(names) > start + 2 else {}
        send_json(call, 200, {"Functions": page, **more})


class ControlGateway(Gateway):
    """Runs a gateway before a `LambdaBackend`."""

    def __init__(self, backend: LambdaBackend, **settings: Any) -> None:
        super().__init__(**settings)
        self.functions = backend

    async def answer_call(self, call: BackendCall) -> None:
        if not self.functions.answer(call):
            await super().answer_call(call)

    def reset(self, backend: LambdaBackend) -> None:
        """Begins again with nothing set, and with other functions."""
        store = self.server.gateway.control_store
        assert store is not None
        cleared = store.change(lambda state: ControlState(state.version + 1) if state.accounts else state)
        asyncio.run_coroutine_threadsafe(cleared, self._loop).result(PATIENCE)
        self.functions = backend

    @property
    def state(self) -> Any:
        """Returns the control state of the gateway."""
        store = self.server.gateway.control_store
        assert store is not None
        return store.state


@contextmanager
def control_gateway(backend: LambdaBackend, **settings: Any) -> Iterator[ControlGateway]:
    """Runs the gateway for the length of the block."""
    started = ControlGateway(backend, **settings).start()
    try:
        yield started
    finally:
        started.stop()
