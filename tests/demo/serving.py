"""Runs the demo backend over a real loopback socket, and calls it as boto3 does."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from invoke_gateway.demo import DemoBackend

REGION = "eu-west-1"
ACCOUNT = "111122223333"


class Served:
    """A demo backend under uvicorn in a thread of its own."""

    def __init__(self) -> None:
        self.backend = DemoBackend(region=REGION, account=ACCOUNT)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.server = uvicorn.Server(
            uvicorn.Config(self.backend, log_config=None, lifespan="on", ws="none", timeout_graceful_shutdown=2)
        )
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)

    def start(self) -> None:
        self.thread.start()
        until(lambda: self.server.started)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=60)
        assert not self.thread.is_alive()
        self.listener.close()

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("POST", path, body, **headers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return (
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.002)


def invoke(client: Any, name: str, event: object = None, **parameters: Any) -> dict[str, Any]:
    """Invoke's typed output, with its payload read and parsed."""
    if event is not None:
        parameters["Payload"] = json.dumps(event)
    output: dict[str, Any] = client.invoke(FunctionName=name, **parameters)
    text = output["Payload"].read()
    output["Payload"] = json.loads(text) if text else None
    return output


def invoke_streamed(client: Any, name: str, event: object, **parameters: Any) -> tuple[list[bytes], dict[str, str]]:
    """The chunks, and what InvokeComplete said."""
    output = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **parameters)
    assert (output["StatusCode"], output["ExecutedVersion"]) == (200, "$LATEST")
    assert output["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    *chunks, last = output["EventStream"]
    return [chunk["PayloadChunk"]["Payload"] for chunk in chunks], last["InvokeComplete"]
