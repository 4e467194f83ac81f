"""`invoke-gateway may`: the decision, the statement that made it, and the exit status."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from click.testing import Result

from tests.cli.commands import invoke
from tests.support.lambda_backend import LambdaBackend, control_gateway

KEY_ID, ALICE, BOB = "AKIAALICE", "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"
HERE = "arn:aws:lambda:us-east-1:111122223333:function"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Shop", "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": f"{HERE}:checkout"},
        {
            "Effect": "Allow",
            "Action": "lambda:PutFunctionConcurrency",
            "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
        },
    ],
}
SETTINGS = {
    "signatures": "verify",
    "callers": {
        KEY_ID: {"secret": "env:SECRET_OF_ALL", "arn": ALICE, "policies": ["alice.json"]},
        "AKIABOB": {"secret": "env:SECRET_OF_ALL", "arn": BOB},
    },
}


@pytest.fixture
def may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("alice.json").write_text(json.dumps(POLICY))
    Path("gateway.json").write_text(json.dumps(SETTINGS))
    return lambda *arguments: invoke("may", *arguments, "--config", "gateway.json")


def test_an_allowed_call_names_the_statement(may: Any) -> None:
    for caller in (KEY_ID, ALICE):
        result: Result = may(caller, "checkout")
        assert result.exit_code == 0
        assert result.output == (
            f"allowed\n  {ALICE}: lambda:InvokeFunction on {HERE}:checkout\n  Allow by alice.json, statement 1 (Shop)\n"
        )


def test_a_denied_call_has_awss_text(may: Any) -> None:
    result: Result = may(KEY_ID, "checkout:prod")
    assert result.exit_code == 1
    assert result.output == (
        f"denied\n  User: {ALICE} is not authorized to perform: lambda:InvokeFunction"
        f" on resource: {HERE}:checkout:prod because no identity-based policy allows the lambda:InvokeFunction action\n"
        "  cause: no identity-based policy allows the action\n"
    )


def test_a_caller_without_policies_is_described_as_such(may: Any) -> None:
    result: Result = may("AKIABOB", "own", "--json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "allowed": True,
        "user": BOB,
        "action": "lambda:InvokeFunction",
        "resource": "arn:aws:lambda:us-east-1:444455556666:function:own",
        "cause": "the caller has no policies, so it may do everything in its own account",
        "statements": [],
    }
    assert may("AKIABOB", f"{HERE}:checkout").exit_code == 1


def test_operations_and_addresses_are_part_of_the_question(may: Any) -> None:
    put = (KEY_ID, "checkout", "--operation", "PutFunctionConcurrency")
    assert may(*put).exit_code == 1
    result = may(*put, "--source-ip", "192.0.2.7")
    assert result.exit_code == 0
    assert result.output.endswith("  Allow by alice.json, statement 2\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("AKIAALICF", "checkout"), "'AKIAALICF' is no access key and no arn of callers. Did you mean AKIAALICE?"),
        ((KEY_ID, "checkout", "--operation", "Invok"), "'Invok' is no operation of Lambda. Did you mean Invoke?"),
    ],
)
def test_a_question_without_an_answer_ends_with_2(may: Any, arguments: tuple[str, ...], text: str) -> None:
    result: Result = may(*arguments)
    assert (result.exit_code, result.output) == (2, f"invoke-gateway: {text}\n")


def test_settings_that_decide_nothing_end_with_2(may: Any) -> None:
    Path("gateway.json").write_text("{}")
    result: Result = may(KEY_ID, "checkout")
    assert result.exit_code == 2
    assert "signatures is off, so no caller is known" in result.output
    Path("gateway.json").write_text(json.dumps({**SETTINGS, "region": 7}))
    assert may(KEY_ID, "checkout").exit_code == 2
    assert invoke("may", KEY_ID, "checkout").exit_code == 2
    assert invoke("may", KEY_ID, "checkout", "--admin", "127.0.0.1:1").exit_code == 2


def test_a_running_gateway_decides_also_by_what_addpermission_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_ALL", "a secret")
    callers = {**SETTINGS["callers"], KEY_ID: {"secret": "env:SECRET_OF_ALL", "arn": ALICE}}  # type: ignore[dict-item]  # a mapping of mappings
    with control_gateway(LambdaBackend("checkout"), signatures="verify", callers=callers) as served:
        admin = f"127.0.0.1:{served.server.admin.port}"
        question = ("may", "AKIABOB", f"{HERE}:checkout", "--admin", admin)
        assert invoke(*question).exit_code == 1
        client = boto3.client(
            "lambda",
            endpoint_url=served.url,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key="a secret",
            config=Config(retries={"max_attempts": 0}),
        )
        client.add_permission(
            FunctionName="checkout", StatementId="bob", Action="lambda:InvokeFunction", Principal="444455556666"
        )
        client.close()
        result = invoke(*question)
        assert result.exit_code == 0
        assert result.output.endswith(f"  Allow by AddPermission for {HERE}:checkout, statement 1 (bob)\n")
        assert invoke("may", "AKIABO", "f", "--admin", admin).exit_code == 2
