"""Builds the request byte for byte, and sends it from this process in a few ways."""

import hmac
import json
import select
import socket
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from loadtests.bench.processes import Trouble

KIBIBYTE = 1024
USER_AGENT = (
    "Boto3/1.44.2 md/Botocore#1.44.2 ua/2.1 os/linux#6.8 md/arch#x86_64 lang/python#3.13.1"
    " md/pyimpl#CPython cfg/retry-mode#standard m/b,Z,D Botocore/1.44.2"
)
ACCESS_KEY, SECRET = "AKIABENCH", "secret of the benchmark"
REGION = "us-east-1"
# A signature is valid for five minutes around its time; a comparison of all peers takes longer.
AHEAD = timedelta(minutes=4)
_SIGNED = ("amz-sdk-invocation-id", "amz-sdk-request", "host", "x-amz-content-sha256", "x-amz-date")


def document(size: int = KIBIBYTE) -> str:
    """Returns a JSON document of exactly that many bytes, without characters that a configuration file would reject."""
    records = [{"messageId": f"{number:08d}", "body": "x" * 64} for number in range(8)]
    empty = json.dumps({"Records": records, "padding": ""})
    return json.dumps({"Records": records, "padding": "y" * (size - len(empty))})


ANSWER = document()


def invocation(function: str, port: int, body: str = ANSWER, *, is_streamed: bool = False) -> bytes:
    """Returns a signed Invoke as SDKs send it, with the headers of botocore and the JavaScript SDK. `is_streamed`: the
    Invoke asks for a streamed response."""
    path = f"/2015-03-31/functions/{function}/invocations"
    if is_streamed:
        path = f"/2021-11-15/functions/{function}/response-streaming-invocations"
    head = {
        "Host": f"127.0.0.1:{port}",
        "Accept-Encoding": "identity",
        "Content-Type": "application/octet-stream",
        "User-Agent": USER_AGENT,
        "X-Amz-Date": f"{datetime.now(UTC) + AHEAD:%Y%m%dT%H%M%SZ}",
        "X-Amz-Content-SHA256": sha256(body.encode()).hexdigest(),
        "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=0",
        "amz-sdk-invocation-id": "6a0d5b6e-6f1f-4ad5-a02b-1c3d7b6d9f55",
        "amz-sdk-request": "attempt=1; max=3",
    }
    head |= {"Authorization": _sign(path, head), "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _sign(path: str, head: dict[str, str]) -> str:
    """Returns the Authorization header of a request that declares the hash of its body."""
    values = {name.lower(): value for name, value in head.items()}
    signed, date = ";".join(_SIGNED), values["x-amz-date"]
    lines = "".join(f"{name}:{values[name]}\n" for name in _SIGNED)
    canonical = "\n".join(("POST", quote(path), "", lines, signed, values["x-amz-content-sha256"]))
    scope = f"{date[:8]}/{REGION}/lambda/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, Signature={key.hex()}"


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
