"""Drives three real clients through one interface: boto3, the AWS CLI and the AWS SDK for JavaScript.

Each call ends in an `Outcome`, with the client's own view of the response: its parsed members, its exception class.
Nothing here reads the wire, except the CLI's --debug output: the CLI receives `Reason` and the headers but shows only
code and message.
"""

import ast
import base64
import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support import forking
from tests.support.processes import bare_environment

HERE = Path(__file__).parent
REGION = "us-east-1"
DEFAULT_ACCESS_KEY = "test"  # no account id: its account is the one that the settings call `default`
ROLE = "arn:aws:iam::000000000000:role/live"
DEADLINE_SECONDS = 120
DEBUGGED_BYTES = 65_536  # the CLI's --debug prints the whole payload; leave it out for larger ones
# What the CLI shows of an error: its code, perhaps a remark on its own retries, the message.
SHOWN_ERROR = re.compile(
    r"^An error occurred \((\w+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)", re.MULTILINE
)


@dataclass(frozen=True)
class Outcome:
    """Holds a client's view of one response; `error` is None after a success."""

    status: int | None
    request_id: str | None = None
    payload: bytes = b""
    function_error: str | None = None
    executed_version: str | None = None
    error: str | None = None
    is_modelled: bool | None = None  # raised as the SDK's own class for this error; the CLI has no classes
    message: str | None = None
    reason: str | None = None
    type: str | None = None
    retry_after_seconds: str | None = None
    attempts: int = 1
    retry_delay_seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass(frozen=True)
class Streamed:
    """Holds the content that a client read from a streamed response."""

    status: int
    chunks: list[bytes] = field(default_factory=list)
    complete: dict[str, Any] | None = None


class Client(Protocol):
    """Defines the client that the scenarios need. `payload` is sent byte for byte, None as no body."""

    name: str

    def create(self, function: str) -> str: ...

    def invoke(
        self,
        function: str,
        payload: bytes | None = b"{}",
        *,
        invocation_type: str | None = None,
        qualifier: str | None = None,
    ) -> Outcome: ...


@contextmanager
def neutral_environment(home: Path) -> Iterator[None]:
    """Keeps the user's AWS settings and proxies from boto3, which runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
                patch.delenv(name)
        for name, value in bare_environment(home).items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        yield


Connect = Callable[..., Client]


def deployment_package() -> bytes:
    """Returns handler.py as the zip that CreateFunction takes."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", (HERE / "handler.py").read_text())
    return package.getvalue()


def definition(function: str) -> dict[str, Any]:
    """Returns the members of CreateFunction that all clients take alike."""
    return {
        "FunctionName": function,
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "handler.handle",
        "Timeout": 60,
    }


def event(**members: Any) -> bytes:
    return json.dumps(members).encode()


def event_of(size: int) -> bytes:
    """Returns a JSON event of exactly `size` bytes."""
    return b'{"padding":"%s"}' % (b"x" * (size - len(b'{"padding":""}')))


def members(function: str, invocation_type: str | None, qualifier: str | None) -> dict[str, str]:
    """Returns Invoke's members but for the payload; those that are None are left out."""
    named = {"FunctionName": function, "InvocationType": invocation_type, "Qualifier": qualifier}
    return {name: value for name, value in named.items() if value is not None}


class Boto3:
    """Uses boto3, by default with retries off."""

    name = "boto3"

    def __init__(
        self,
        endpoint: str,
        access_key: str = DEFAULT_ACCESS_KEY,
        attempts: int = 1,
        read_timeout: float = DEADLINE_SECONDS,
    ) -> None:
        retries = {"total_max_attempts": attempts, "mode": "standard"}
        config = Config(retries=retries, read_timeout=read_timeout, max_pool_connections=64)
        self.sdk = boto3.session.Session().client(
            "lambda",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key="secret",
            config=config,
        )

    def close(self) -> None:
        self.sdk.close()

    def create(self, function: str) -> str:
        code = {"ZipFile": deployment_package()}
        return str(self.sdk.create_function(**definition(function), Code=code)["FunctionArn"])

    def invoke(
        self,
        function: str,
        payload: bytes | None = b"{}",
        *,
        invocation_type: str | None = None,
        qualifier: str | None = None,
    ) -> Outcome:
        given = members(function, invocation_type, qualifier) | ({} if payload is None else {"Payload": payload})
        try:
            answer = self.sdk.invoke(**given)
        except ClientError as error:
            return self._refused(error)
        with answer["Payload"] as body:
            received = body.read()
        return Outcome(
            status=answer["StatusCode"],
            request_id=answer["ResponseMetadata"].get("RequestId"),
            payload=received,
            function_error=answer.get("FunctionError"),
            executed_version=answer.get("ExecutedVersion"),
            attempts=1 + answer["ResponseMetadata"]["RetryAttempts"],
        )

    def stream(self, function: str, payload: bytes) -> Streamed:
        answer = self.sdk.invoke_with_response_stream(FunctionName=function, Payload=payload)
        with closing(answer["EventStream"]) as events:
            received = list(events)
        return Streamed(
            status=answer["StatusCode"],
            chunks=[each["PayloadChunk"]["Payload"] for each in received if "PayloadChunk" in each],
            complete=next((each["InvokeComplete"] for each in received if "InvokeComplete" in each), None),
        )

    def _refused(self, error: ClientError) -> Outcome:
        answer = error.response
        code = answer["Error"]["Code"]
        error_class = getattr(self.sdk.exceptions, code, None) if code in self._modelled() else None
        return Outcome(
            status=answer["ResponseMetadata"]["HTTPStatusCode"],
            request_id=answer["ResponseMetadata"].get("RequestId"),
            error=code,
            is_modelled=error_class is not None and isinstance(error, error_class),
            message=answer["Error"]["Message"],
            reason=answer.get("Reason"),
            type=answer.get("Type"),
            retry_after_seconds=answer.get("retryAfterSeconds"),
            attempts=1 + answer["ResponseMetadata"]["RetryAttempts"],
        )

    def _modelled(self) -> set[str]:
        return {shape.name for shape in self.sdk.meta.service_model.error_shapes}


class AwsCli:
    """Uses the `aws` command of this Python environment, without retries and without configuration files."""

    name = "cli"
    COMMAND = str(Path(sys.executable).with_name("aws"))

    def __init__(self, endpoint: str, access_key: str, scratch: Path) -> None:
        self._scratch = scratch
        self._calls = itertools.count()
        self._endpoint = endpoint
        self._environment = bare_environment(scratch) | {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }

    def create(self, function: str) -> str:
        package = self._scratch / f"{function}.zip"
        package.write_bytes(deployment_package())
        options = ["--timeout", "60", "--zip-file", f"fileb://{package}", "--role", ROLE]
        options += ["--runtime", "python3.12", "--handler", "handler.handle", "--function-name", function]
        done = self._run("create-function", options)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["FunctionArn"])

    def invoke(
        self,
        function: str,
        payload: bytes | None = b"{}",
        *,
        invocation_type: str | None = None,
        qualifier: str | None = None,
    ) -> Outcome:
        call = self._scratch / f"call-{next(self._calls)}"
        options = ["--function-name", function]
        if payload is not None:
            call.with_suffix(".in").write_bytes(payload)
            options += ["--payload", f"fileb://{call.with_suffix('.in')}"]
        options += ["--invocation-type", invocation_type] if invocation_type else []
        options += ["--qualifier", qualifier] if qualifier else []
        options += ["--debug"] if len(payload or b"") <= DEBUGGED_BYTES else []
        done = self._run("invoke", [*options, str(call.with_suffix(".out"))])
        if done.returncode != 0:
            return self._refused(done.stderr)
        answer = json.loads(done.stdout)
        return Outcome(
            status=answer["StatusCode"],
            request_id=self._headers(done.stderr).get("x-amzn-requestid"),
            payload=call.with_suffix(".out").read_bytes(),
            function_error=answer.get("FunctionError"),
            executed_version=answer.get("ExecutedVersion"),
        )

    def _run(self, operation: str, options: list[str]) -> "subprocess.CompletedProcess[str]":
        command = [self.COMMAND, "lambda", operation, "--endpoint-url", self._endpoint, *options]
        return forking.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def _refused(self, stderr: str) -> Outcome:
        """Parses the last error line, which a user sees; the rest is there with --debug only."""
        shown = list(SHOWN_ERROR.finditer(stderr))
        assert shown, stderr
        headers = self._headers(stderr)
        bodies = re.findall(r"Response body:\n(b['\"].*['\"])$", stderr, re.MULTILINE)
        body = json.loads(ast.literal_eval(bodies[-1])) if bodies else {}
        statuses = re.findall(r'"POST \S+ HTTP/1.1" (\d{3}) ', stderr)
        return Outcome(
            status=int(statuses[-1]) if statuses else None,
            request_id=headers.get("x-amzn-requestid"),
            error=shown[-1][1],
            message=shown[-1][2].strip(),
            reason=body.get("Reason"),
            type=body.get("Type"),
            retry_after_seconds=headers.get("retry-after"),
        )

    def _headers(self, stderr: str) -> dict[str, str]:
        found = re.findall(r"Response headers: (\{.*\})$", stderr, re.MULTILINE)
        parsed = ast.literal_eval(found[-1]) if found else {}
        return {name.lower(): value for name, value in parsed.items()}


class NodeProcess:
    """Runs one Node process with sdk.mjs; calls from several threads overlap in it."""

    def __init__(self, node: str, log: Path) -> None:
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [node, str(HERE / "sdk.mjs")],
                env=bare_environment(log.parent),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="sdk.mjs", daemon=True)
        self._reader.start()

    def call(self, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for the response."""
        answer: Future[dict[str, Any]] = Future()
        assert self._process.stdin is not None
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = answer
            self._process.stdin.write(json.dumps(request | {"id": number}).encode() + b"\n")
            self._process.stdin.flush()
        return answer.result(DEADLINE_SECONDS)

    def close(self) -> None:
        """Closes its standard input, which ends the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            self._waiting.pop(reply["id"]).set_result(reply)
        for answer in self._waiting.values():
            answer.set_exception(EOFError("sdk.mjs ended before it answered; its log says why"))


class JavaScript:
    """Uses @aws-sdk/client-lambda under Node, by default with retries off."""

    name = "javascript"

    def __init__(self, node: NodeProcess, endpoint: str, access_key: str, attempts: int = 1) -> None:
        self._node = node
        self._client = {"endpoint": endpoint, "accessKeyId": access_key, "maxAttempts": attempts}

    def create(self, function: str) -> str:
        code = base64.b64encode(deployment_package()).decode()
        reply = self._call("create", input=definition(function), code=code)
        assert "result" in reply, reply
        return str(reply["result"]["FunctionArn"])

    def invoke(
        self,
        function: str,
        payload: bytes | None = b"{}",
        *,
        invocation_type: str | None = None,
        qualifier: str | None = None,
    ) -> Outcome:
        given = members(function, invocation_type, qualifier)
        reply = self._call("invoke", input=given, payload=self._encoded(payload))
        if "error" in reply:
            return self._refused(reply["error"])
        answer = reply["result"]
        return Outcome(
            status=answer["StatusCode"],
            request_id=answer["$metadata"].get("requestId"),
            payload=base64.b64decode(answer["Payload"]),
            function_error=answer.get("FunctionError"),
            executed_version=answer.get("ExecutedVersion"),
            attempts=answer["$metadata"]["attempts"],
            retry_delay_seconds=answer["$metadata"]["totalRetryDelay"] / 1000,
        )

    def stream(self, function: str, payload: bytes) -> Streamed:
        reply = self._call("stream", input={"FunctionName": function}, payload=self._encoded(payload))
        assert "result" in reply, reply
        answer = reply["result"]
        chunks = [base64.b64decode(chunk) for chunk in answer["chunks"]]
        return Streamed(status=answer["StatusCode"], chunks=chunks, complete=answer["complete"])

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        return self._node.call(operation=operation, **self._client, **request)

    @staticmethod
    def _encoded(payload: bytes | None) -> str | None:
        return None if payload is None else base64.b64encode(payload).decode()

    @staticmethod
    def _refused(error: dict[str, Any]) -> Outcome:
        metadata = error["$metadata"]
        return Outcome(
            status=metadata.get("httpStatusCode"),
            request_id=metadata.get("requestId"),
            error=error["name"],
            is_modelled=error["isModelled"],
            message=error["message"],
            reason=error.get("Reason"),
            type=error.get("Type"),
            retry_after_seconds=error.get("retryAfterSeconds"),
            attempts=metadata["attempts"],
            retry_delay_seconds=metadata["totalRetryDelay"] / 1000,
        )
