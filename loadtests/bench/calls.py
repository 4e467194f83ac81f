"""Builds the request byte for byte, and sends it from this process in a few ways."""

import json
import select
import socket
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from loadtests.bench.processes import Trouble

KIBIBYTE = 1024
USER_AGENT = (
    "Boto3/1.44.2 md/Botocore#1.44.2 ua/2.1 os/linux#6.8 md/arch#x86_64 lang/python#3.13.1"
    " md/pyimpl#CPython cfg/retry-mode#standard m/b,Z,D Botocore/1.44.2"
)
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/lambda/aws4_request,"
    " SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;host;x-amz-content-sha256;x-amz-date,"
    " Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
)


def document(size: int = KIBIBYTE) -> str:
    """Returns a JSON document of exactly that many bytes, without characters that a configuration file would reject."""
    records = [{"messageId": f"{number:08d}", "body": "x" * 64} for number in range(8)]
    empty = json.dumps({"Records": records, "padding": ""})
    return json.dumps({"Records": records, "padding": "y" * (size - len(empty))})


ANSWER = document()


def invocation(function: str, port: int, body: str = ANSWER) -> bytes:
    """Returns an Invoke as SDKs send it, with the headers of botocore and the JavaScript SDK."""
    head = (
        f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept-Encoding: identity",
        "Content-Type: application/octet-stream",
        f"User-Agent: {USER_AGENT}",
        "X-Amz-Date: 20260101T000000Z",
        "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=0",
        "amz-sdk-invocation-id: 6a0d5b6e-6f1f-4ad5-a02b-1c3d7b6d9f55",
        "amz-sdk-request: attempt=1; max=3",
        f"Authorization: {AUTHORIZATION}",
        f"Content-Length: {len(body)}",
    )
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


@dataclass(frozen=True)
class Answer:
    status: int
    keeps_connection: bool
    body: bytes


def ask(port: int, request: bytes, seconds: float = 5) -> Answer:
    """Sends one request and reads its response. Raises Trouble when none arrives."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.sendall(request)
            while not is_whole(received):
                piece = connection.recv(65536)
                if not piece:
                    break
                received += piece
    except OSError as error:
        raise Trouble(f"no answer to an invoke: {error!r}") from error
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise Trouble(f"an invoke was answered with {received[:80]!r}")
    return Answer(int(head[9:12]), b"\r\nconnection: close" not in head.lower(), body)


def ask_until(port: int, request: bytes, status: int, seconds: float = 5) -> Answer:
    """Repeats the request until that status arrives. Raises Trouble after some seconds."""
    deadline = time.monotonic() + seconds
    while (answer := ask(port, request)).status != status:
        if time.monotonic() > deadline:
            raise Trouble(f"{status} expected, answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
        time.sleep(0.1)
    return answer


def hold(port: int) -> socket.socket:
    """Opens a call that the holding backend keeps waiting. It lasts as long as the socket."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(invocation("hold", port))
    return connection


def is_answered(held: socket.socket, seconds: float = 0.3) -> bool:
    """Returns True if a response or the connection's end arrives within that time."""
    return bool(select.select([held], [], [], seconds)[0])


def get_json(port: int, path: str, seconds: float = 5) -> Any:
    """Returns the JSON of a GET of a local port. Raises OSError."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
        return json.load(answer)


def is_healthy(port: int) -> bool:
    """Returns True if /healthz of the gateway's admin listener returns 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            healthy: bool = answer.status == 200
            return healthy
    except OSError:
        return False


def is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return body.endswith(b"0\r\n\r\n")
