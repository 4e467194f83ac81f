"""A gateway that signs, before a moto that verifies each signature by IAM's users and keys.

moto answers with texts that the test gives it, because its functions need Docker. It serves no streams, and refuses
each signed request without a body, also boto3's own. tests/upstream/test_signing.py has both, before a backend that
verifies with botocore.
"""

from __future__ import annotations

import asyncio
import io
import json
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config

from invoke_gateway.aws import credential_keeper
from tests.live import servers
from tests.support.clients import Response, call, invoke_path
from tests.support.gateways import GatewayUnderTest, eventually, serving

REGION, ACCOUNT, USER = "us-east-1", "000000000000", "gateway"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:checkout"
SETUP_ACTIONS = 3  # create_user, put_user_policy, create_access_key
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["lambda:*", "iam:*", "logs:*"], "Resource": "*"}],
}
FAILURE = '{"errorMessage": "boom", "errorType": "Error"}'


class Key(NamedTuple):
    id: str
    secret: str


def client(service: str, url: str, key: Key) -> Any:
    keys = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret}
    return closing(boto3.client(service, endpoint_url=url, region_name=REGION, config=Config(proxies={}), **keys))


class VerifyingMoto:
    """Holds the address, and one access key of the gateway's user."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.post("/moto-api/config", {"lambda": {"use_docker": False}})
        with client("iam", url, Key("unverified", "x")) as iam:
            iam.create_user(UserName=USER)
            iam.put_user_policy(UserName=USER, PolicyName="all", PolicyDocument=json.dumps(POLICY))
            self.key = _read_key(iam.create_access_key(UserName=USER))
        with client("lambda", url, self.key) as functions:
            functions.create_function(
                FunctionName="checkout",
                Runtime="python3.12",
                Role=f"arn:aws:iam::{ACCOUNT}:role/live",
                Handler="a.handle",
                Code={"ZipFile": _make_archive()},
            )
            functions.create_alias(FunctionName="checkout", Name="prod", FunctionVersion="$LATEST")

    def post(self, path: str, document: object) -> None:
        request = urllib.request.Request(self.url + path, json.dumps(document).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:  # http, on loopback
            assert answer.status in (200, 201)

    def answer_with(self, *results: str) -> None:
        """Sets the answers of the next invocations."""
        self.post(
            "/moto-api/static/lambda-simple/response", {"results": results, "region": REGION, "account_id": ACCOUNT}
        )

    def create_key(self) -> Key:
        with client("iam", self.url, self.key) as iam:
            return _read_key(iam.create_access_key(UserName=USER))

    def delete_key(self, key: Key) -> None:
        with client("iam", self.url, self.key) as iam:
            iam.delete_access_key(UserName=USER, AccessKeyId=key.id)


def _read_key(answer: Any) -> Key:
    return Key(answer["AccessKey"]["AccessKeyId"], answer["AccessKey"]["SecretAccessKey"])


def _make_archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.py", "def handle(event, context): return event")
    return data.getvalue()


@pytest.fixture(scope="module")
def moto(folder: Path) -> Iterator[VerifyingMoto]:
    with servers.moto(folder / "verifying-moto", unverified_actions=SETUP_ACTIONS) as url:
        yield VerifyingMoto(url)


def write_key(file: Path, key: Key) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"[default]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n")
    new.replace(file)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the file of the gateway's credentials, which are looked at ten times a second."""
    monkeypatch.setattr(credential_keeper, "CHECK_SECONDS", 0.1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "credentials"


@asynccontextmanager
async def signing_gateway(moto: VerifyingMoto, file: Path, letters: Path) -> AsyncIterator[GatewayUnderTest]:
    write_key(file, moto.key)
    function = {"maximum_retry_attempts": 1, "dead_letter_queue": f"file://{letters}"}
    async with serving(
        moto.url,
        backend={"url": moto.url, "sign": True, "function_errors": "body"},
        accounts={"default": {"functions": {"checkout": function}, "requests_per_second": "off"}},
        **{"async": {"function_error_delays_seconds": [0.05], "shortest_delay_seconds": 0.05}},
    ) as gateway:
        yield gateway


@pytest.fixture
def open_gateway(moto: VerifyingMoto, file: Path, tmp_path: Path) -> Callable[[], Any]:
    return lambda: signing_gateway(moto, file, tmp_path / "letters.jsonl")


NAMES = [
    "checkout",
    "checkout:prod",
    quote(ARN, safe=""),
    quote(f"{ARN}:prod", safe=""),
    f"{ARN}:prod",
]
# moto refuses each signed request without a body, boto3's own as well.
BODIES = [b"{}", b'{"name": "Zo\xc3\xab \xf0\x9f\x9a\x80"}', b'"' + b"x" * (6_291_456 - 2) + b'"']


async def test_calls_by_every_name_and_of_every_size(moto: VerifyingMoto, open_gateway: Callable[[], Any]) -> None:
    async with open_gateway() as gateway:
        for name in NAMES:
            moto.answer_with('"done"')
            answer = await call(gateway.listen, invoke_path(name), b"{}")
            assert (answer.status, answer.body) == (200, b'"done"'), name
        for body in BODIES:
            moto.answer_with('"done"')
            answer = await call(gateway.listen, f"{invoke_path('checkout')}?Qualifier=prod", body)
            assert (answer.status, answer.body) == (200, b'"done"'), len(body)


async def test_an_event_its_retry_and_its_dead_letter(
    moto: VerifyingMoto, open_gateway: Callable[[], Any], tmp_path: Path
) -> None:
    letters = tmp_path / "letters.jsonl"
    async with open_gateway() as gateway:
        moto.answer_with(FAILURE, FAILURE)
        answer = await call(
            gateway.listen, invoke_path("checkout"), b'{"order": 7}', headers={"X-Amz-Invocation-Type": "Event"}
        )
        assert answer.status == 202
        await eventually(letters.exists, "a dead letter")
        await eventually(letters.read_text, "its text")
        assert "boom" in letters.read_text()
        assert not gateway.app.degraded["backend_refuses_events"]


async def test_a_key_is_rotated_under_load_and_no_call_fails(
    moto: VerifyingMoto, open_gateway: Callable[[], Any], file: Path
) -> None:
    async with open_gateway() as gateway:
        old, answers = moto.key, list[Response]()
        is_over = asyncio.Event()

        async def load() -> None:
            while not is_over.is_set():
                answers.append(await call(gateway.listen, invoke_path("checkout"), b"{}"))

        clients = [asyncio.create_task(load()) for _ in range(3)]
        await eventually(lambda: len(answers) > 10, "calls with the old key")
        new = await asyncio.to_thread(moto.create_key)
        write_key(file, new)
        keeper = gateway.app.signing.keeper
        assert keeper is not None
        await eventually(lambda: keeper.find(0).credentials.access_key_id == new.id, "the new key is in use")
        moto.key = new
        before = len(answers)
        await eventually(lambda: len(answers) > before + 6, "calls that were signed with the old key are over")
        await asyncio.to_thread(moto.delete_key, old)
        before = len(answers)
        await eventually(lambda: len(answers) > before + 10, "calls with the new key")
        is_over.set()
        await asyncio.gather(*clients)
        assert {answer.status for answer in answers} == {200}
        assert keeper.refusals == {}


async def test_a_deleted_key_is_no_fault_of_the_client_and_no_end_of_an_event(
    moto: VerifyingMoto, open_gateway: Callable[[], Any], file: Path
) -> None:
    async with open_gateway() as gateway:
        right = moto.key
        write_key(file, Key(right.id, "wrong"))
        keeper = gateway.app.signing.keeper
        assert keeper is not None
        await eventually(lambda: keeper.find(0).credentials.secret == "wrong", "the wrong secret is in use")
        answer = await call(gateway.listen, invoke_path("checkout"), b"{}")
        assert (answer.status, answer.header("x-amzn-errortype")) == (500, "ServiceException")
        assert "403 SignatureDoesNotMatch" in answer.json()["Message"]
        event = await call(gateway.listen, invoke_path("checkout"), b"{}", headers={"X-Amz-Invocation-Type": "Event"})
        assert event.status == 202
        await eventually(lambda: gateway.app.degraded["backend_refuses_events"], "the event is refused, and kept")
        assert gateway.app.degraded["backend_credentials"]
        write_key(file, right)
        await eventually(lambda: not gateway.app.degraded["backend_refuses_events"], "the event has run")
        assert (await call(gateway.listen, invoke_path("checkout"), b"{}")).status == 200
        assert not gateway.app.degraded["backend_credentials"]
