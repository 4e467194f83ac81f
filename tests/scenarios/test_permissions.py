"""Permissions over the life of a gateway: restarts, reloads, and policies with mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.processes import wait_until
from tests.support.served import Served, served

SECRET = "wJalrXUtnFEMI"
ALICE, BOB = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"
ECHO = "arn:aws:lambda:us-east-1:111122223333:function:echo"
ALLOW_ALL = {"Statement": {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    policy = tmp_path / "alice.json"
    policy.write_text(json.dumps(ALLOW_ALL))
    return {
        "signatures": "verify",
        "control": {"store": f"file://{tmp_path}/control.json"},
        "callers": {
            "AKIAALICE": {"secret": f"file:{secret}", "arn": ALICE, "policies": [str(policy)]},
            "AKIABOB": {"secret": f"file:{secret}", "arn": BOB},
        },
    }


def call(gateway: Served, key_id: str, do: Callable[[Any], Any]) -> bool:
    """Returns whether a call is allowed."""
    client = boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{gateway.port}",
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}),
    )
    with closing(client):
        try:
            do(client)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return False
        return True


def invoke(client: Any) -> None:
    client.invoke(FunctionName=ECHO, Payload=b"{}")["Payload"].read()


def add_permission(client: Any) -> None:
    client.add_permission(
        FunctionName="echo", StatementId="bob", Action="lambda:InvokeFunction", Principal="444455556666"
    )


def test_a_statement_survives_kill_9(tmp_path: Path, settings: dict[str, Any]) -> None:
    with served(tmp_path, **settings) as gateway:
        gateway.until_up()
        assert not call(gateway, "AKIABOB", invoke)
        assert call(gateway, "AKIAALICE", add_permission)
        assert call(gateway, "AKIABOB", invoke)
        gateway.process.kill()
        gateway.process.wait()
    with served(tmp_path, **settings) as gateway:
        gateway.until_up()
        assert call(gateway, "AKIABOB", invoke)
        assert gateway.stop() == 0


def test_a_changed_policy_is_in_force_without_a_restart_and_one_with_a_mistake_is_not(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    policy = tmp_path / "alice.json"
    with served(tmp_path, "--watch", **settings) as gateway:
        gateway.until_up()
        assert call(gateway, "AKIAALICE", invoke)
        policy.write_text(json.dumps({"Statement": {**ALLOW_ALL["Statement"], "Condition": {"StringIs": {}}}}))
        gateway.until_logged("settings not reloaded")
        assert f"{policy}: statement 1, Condition.StringIs: is no mapping of keys" in gateway.log
        assert call(gateway, "AKIAALICE", invoke)
        policy.write_text(json.dumps({"Statement": {**ALLOW_ALL["Statement"], "Resource": ECHO + ":prod"}}))
        wait_until(lambda: not call(gateway, "AKIAALICE", invoke), "the new policy is in force")
        gateway.until_logged("settings reloaded: callers: 1 changed")
        assert gateway.stop() == 0
