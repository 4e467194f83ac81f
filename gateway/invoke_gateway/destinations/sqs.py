"""Delivers to queues that speak SQS: AWS's own, and emulators.

boto3 sends the messages, from threads. It is an extra of the package, and imported at the first use.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..policy.events.destination_url import SqsTarget
from ..queue.base import DeliveryFailed
from ..queue.outcomes.destination_records import NO_CHARACTER
from .message import Message

# Body and attributes together (SQS API reference, SendMessage). A queue may have a lower bound, which its error names.
MOST_BYTES = 1_048_576
_THREADS = 4  # concurrent messages of an endpoint
_MOST_GROUP_LENGTH = 128
_INSTALL = "pip install boto3"

_CURES = {
    "AWS.SimpleQueueService.NonExistentQueue": "create it, or correct the URL",
    "QueueDoesNotExist": "create it, or correct the URL",
    "AccessDenied": "allow sqs:SendMessage to the gateway's credentials",
    "AccessDeniedException": "allow sqs:SendMessage to the gateway's credentials",
    "InvalidClientTokenId": "check the gateway's AWS credentials",
    "SignatureDoesNotMatch": "check the gateway's AWS credentials",
    "ExpiredToken": "renew the gateway's AWS credentials",
}


def missing_extra(targets: Iterable[str]) -> str | None:
    """Returns why a target can never be reached without boto3, with the action; None where all can be reached."""
    if importlib.util.find_spec("boto3") is None and any(target.startswith("sqs+") for target in targets):
        return f"a queue among the targets needs boto3, which is not installed: {_INSTALL}"
    return None


class Queues:
    """Delivers to queues. Each endpoint has a client and threads of its own, so that a hanging one delays no other.

    region: of queues whose host does not name one.
    """

    def __init__(self, region: str, timeout_seconds: float) -> None:
        self._region = region
        self._timeout = timeout_seconds
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}

    async def deliver(self, queue: SqsTarget, message: Message) -> None:
        """Sends the message. A FIFO queue (its name ends with .fifo) takes it once within five minutes. Raises
        `DeliveryFailed`."""
        arguments = _make_arguments(queue, message)
        key = queue.endpoint, _account_of(queue)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = _Endpoint(queue, self._region, self._timeout)
        await asyncio.get_running_loop().run_in_executor(endpoint.threads, endpoint.send, arguments)

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()
        self._endpoints.clear()


class _Endpoint:
    def __init__(self, queue: SqsTarget, region: str, timeout_seconds: float) -> None:
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqs")
        self._queue = queue
        self._region = queue.region or region
        self._timeout = timeout_seconds
        self._lock = threading.Lock()  # boto3 must make sessions and clients one at a time
        self._client: Any = None

    def send(self, arguments: dict[str, Any]) -> None:
        """Sends a message, in a thread. Raises `DeliveryFailed`."""
        try:
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
        except ImportError as error:
            raise DeliveryFailed(f"boto3 is not installed: {_INSTALL}") from error
        try:
            self._open(boto3).send_message(**arguments)
        except ClientError as error:
            raise DeliveryFailed(_describe(error.response)) from error
        except (ConnectionError, HTTPClientError) as error:
            raise DeliveryFailed(f"{error}; check that it runs and is reachable") from error
        except BotoCoreError as error:
            raise DeliveryFailed(str(error)) from error

    def _open(self, boto3: Any) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make_client(boto3)
            return self._client

    def _make_client(self, boto3: Any) -> Any:
        from botocore.config import Config

        session = boto3.Session()
        keys: dict[str, str] = {}
        if session.get_credentials() is None:
            if self._queue.is_of_aws:
                raise DeliveryFailed("boto3 finds no AWS credentials; give the gateway a role, a profile or keys")
            # An emulator takes any keys; some read the account from an id of twelve digits.
            keys = {"aws_access_key_id": _account_of(self._queue), "aws_secret_access_key": "unused"}
        config = Config(
            retries={"total_max_attempts": 1},  # the delivery itself is retried, and its reason logged
            connect_timeout=self._timeout,
            read_timeout=self._timeout,
            max_pool_connections=_THREADS,
        )
        return session.client("sqs", endpoint_url=self._queue.endpoint, region_name=self._region, config=config, **keys)

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()


def _account_of(queue: SqsTarget) -> str:
    account = queue.url.rsplit("/", 2)[1]
    return account if account.isdigit() and len(account) == 12 else "test"


def _make_arguments(queue: SqsTarget, message: Message) -> dict[str, Any]:
    attributes = {
        name: {"DataType": "Number" if isinstance(value, int) else "String", "StringValue": str(value)}
        for name, value in (message.attributes or {}).items()
    }
    size = len(message.body) + sum(
        len(name) + len(value["DataType"]) + len(value["StringValue"].encode()) for name, value in attributes.items()
    )
    if size > MOST_BYTES:
        raise DeliveryFailed(
            f"the message has {size:,} bytes, and SQS takes {MOST_BYTES:,}; deliver to a file, a stream or an endpoint"
        )
    arguments = {"QueueUrl": queue.url, "MessageBody": _read_text(message.body), "MessageAttributes": attributes}
    if queue.is_fifo:
        arguments["MessageGroupId"] = message.event.function[:_MOST_GROUP_LENGTH]
        arguments["MessageDeduplicationId"] = message.id
    return arguments


def _read_text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise DeliveryFailed("the event is not UTF-8, and SQS takes texts only; deliver to an endpoint") from error
    if not text:
        raise DeliveryFailed("the event is empty, and SQS takes no empty message; deliver to a file or an endpoint")
    if found := NO_CHARACTER.search(text):
        character = f"U+{ord(found[0]):04X}"
        raise DeliveryFailed(f"the event has {character}, which SQS does not take; deliver to a file or an endpoint")
    return text


def _describe(response: Any) -> str:
    error = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = error.get("Code", "Unknown")
    text = f"it responded {status}: {code}: {error.get('Message', '')}".rstrip(".")
    return f"{text}; {_CURES[code]}" if code in _CURES else text
