"""AddPermission, RemovePermission and GetPolicy where signatures are verified: AWS's answers, and what they allow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from invoke_gateway.control.file_store import encode_state, read_state
from tests.cli.commands import invoke as run
from tests.control.conftest import read_refusal
from tests.support.lambda_backend import ControlGateway, LambdaBackend, control_gateway
from tests.support.signing import SECRET

ALICE, BOB = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"
ECHO = "arn:aws:lambda:us-east-1:111122223333:function:echo"
CALLERS = {
    "AKIAALICE": {"secret": "env:SECRET_OF_ALL", "arn": ALICE},
    "AKIABOB": {"secret": "env:SECRET_OF_ALL", "arn": BOB},
}
IN_FILE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "lambda:DeleteFunction", "Resource": "*"}],
}
SETTINGS = {
    "signatures": "verify",
    "callers": CALLERS,
    "accounts": {
        "default": {"requests_per_second": "off"},
        "111122223333": {"requests_per_second": "off", "functions": {"other": {"resource_policy": IN_FILE}}},
    },
}
ORGANIZATION = "o-a1b2c3d4e5"
INVOKE = {"Action": "lambda:InvokeFunction", "StatementId": "bob", "Principal": "444455556666"}


@pytest.fixture(scope="module")
def module_gateway() -> Iterator[ControlGateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_ALL", SECRET)
        with control_gateway(LambdaBackend(), **SETTINGS) as started:
            yield started


@contextlib.contextmanager
def client_of(to: ControlGateway, key_id: str) -> Iterator[Any]:
    client = boto3.client(
        "lambda",
        endpoint_url=to.url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}),
    )
    with closing(client):
        yield client


@pytest.fixture(scope="module")
def client(module_gateway: ControlGateway) -> Iterator[Any]:
    with client_of(module_gateway, "AKIAALICE") as made:
        yield made


@pytest.fixture(scope="module")
def bob(module_gateway: ControlGateway) -> Iterator[Any]:
    with client_of(module_gateway, "AKIABOB") as made:
        yield made


def invokes(client: Any, function: str) -> bool:
    try:
        return bool(client.invoke(FunctionName=function, Payload=b"{}")["StatusCode"] == 200)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False


def policy_of(client: Any, **values: Any) -> tuple[Any, str]:
    found = client.get_policy(FunctionName="echo", **values)
    return json.loads(found["Policy"]), found["RevisionId"]


# ---- what a statement allows -----------------------------------------------------------------------------------


def test_a_caller_of_another_account_is_allowed_until_the_statement_is_removed(
    served: ControlGateway, client: Any, bob: Any
) -> None:
    assert not invokes(bob, ECHO)
    answer = client.add_permission(FunctionName="echo", **INVOKE)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    statement = {
        "Sid": "bob",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
        "Action": "lambda:InvokeFunction",
        "Resource": ECHO,
    }
    assert json.loads(answer["Statement"]) == statement
    assert policy_of(client)[0] == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert invokes(bob, ECHO)
    assert not invokes(bob, ECHO + ":prod")
    removed = client.remove_permission(FunctionName="echo", StatementId="bob")
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert not invokes(bob, ECHO)
    assert served.state.accounts == {}


def test_a_qualifier_has_a_policy_of_its_own(served: ControlGateway, client: Any, bob: Any) -> None:
    client.add_permission(FunctionName="echo", Qualifier="prod", **INVOKE)
    client.add_permission(FunctionName="echo:1", **INVOKE)
    assert [invokes(bob, ECHO + end) for end in ("", ":prod", ":1", ":2")] == [False, True, True, False]
    assert policy_of(client, Qualifier="prod")[0]["Statement"][0]["Resource"] == ECHO + ":prod"
    assert read_refusal(client.get_policy, FunctionName="echo")[1] == "ResourceNotFoundException"
    client.delete_alias(FunctionName="echo", Name="prod")
    assert not invokes(bob, ECHO + ":prod")
    assert invokes(bob, ECHO + ":1")
    client.delete_function(FunctionName="echo")
    assert not invokes(bob, ECHO + ":1")


@pytest.mark.parametrize(
    ("given", "principal", "condition"),
    [
        (
            {"Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::bucket", "SourceAccount": "111122223333"},
            {"Service": "s3.amazonaws.com"},
            {
                "StringEquals": {"AWS:SourceAccount": "111122223333"},
                "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
            },
        ),
        ({"Principal": BOB}, {"AWS": BOB}, None),
        ({"PrincipalOrgID": ORGANIZATION}, "*", {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}),
        ({"FunctionUrlAuthType": "NONE"}, "*", {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
        ({"InvokedViaFunctionUrl": True}, "*", {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
        (
            {"Principal": "alexa-appkit.amazon.com", "EventSourceToken": "amzn1.ask"},
            {"Service": "alexa-appkit.amazon.com"},
            {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask"}},
        ),
    ],
)  # fmt: skip
def test_statements_have_awss_form(
    served: ControlGateway, client: Any, bob: Any, given: dict[str, Any], principal: Any, condition: Any
) -> None:
    client.add_permission(FunctionName="echo", **{**INVOKE, "Principal": "*", **given})
    [statement] = policy_of(client)[0]["Statement"]
    assert (statement["Principal"], statement.get("Condition")) == (principal, condition)
    assert invokes(bob, ECHO) == (principal == {"AWS": BOB})


# ---- refusals --------------------------------------------------------------------------------------------------


def test_errors_have_awss_texts(served: ControlGateway, client: Any) -> None:
    missing = {"FunctionName": "echo", "StatementId": "none"}
    assert read_refusal(client.get_policy, FunctionName="echo") == (
        404,
        "ResourceNotFoundException",
        {"Type": "User", "Message": "The resource you requested does not exist."},
    )
    assert read_refusal(client.remove_permission, **missing)[2]["Message"] == (
        "No policy is associated with the given resource."
    )
    client.add_permission(FunctionName="echo", **INVOKE)
    assert read_refusal(client.remove_permission, **missing) == (
        404,
        "ResourceNotFoundException",
        {"Type": "User", "Message": "Statement none is not found in resource policy."},
    )
    assert read_refusal(client.add_permission, FunctionName="echo", **INVOKE) == (
        409,
        "ResourceConflictException",
        {
            "Type": "User",
            "message": "The statement id (bob) provided already exists. Please provide a new statement id, or remove "
            "the existing statement.",
        },
    )
    more = {**INVOKE, "StatementId": "more"}
    assert read_refusal(client.add_permission, FunctionName="echo", Qualifier="$LATEST", **more)[2]["message"] == (
        "We currently do not support adding policies for $LATEST."
    )
    assert read_refusal(client.add_permission, FunctionName="missing", **more)[1] == "ResourceNotFoundException"
    assert read_refusal(client.add_permission, FunctionName="echo:9", **more)[1] == "ResourceNotFoundException"
    status, code, members = read_refusal(client.add_permission, FunctionName="echo", **{**more, "Principal": "alice"})
    assert (status, code) == (400, "InvalidParameterValueException")
    assert members["message"] == "The provided principal was invalid. Please check the principal and try again."
    status, code, members = read_refusal(client.add_permission, FunctionName="echo", **{**more, "StatementId": "a b"})
    assert (status, code) == (400, "ValidationException")
    assert "Value 'a b' at 'statementId' failed to satisfy constraint" in members["message"]


def test_a_revision_that_is_not_the_last_one_is_refused(served: ControlGateway, client: Any) -> None:
    client.add_permission(FunctionName="echo", **INVOKE)
    first = policy_of(client)[1]
    client.add_permission(FunctionName="echo", RevisionId=first, **{**INVOKE, "StatementId": "two"})
    second = policy_of(client)[1]
    assert second != first
    for call, values in (
        (client.add_permission, {**INVOKE, "StatementId": "three"}),
        (client.remove_permission, {"StatementId": "two"}),
    ):
        status, code, _ = read_refusal(call, FunctionName="echo", RevisionId=first, **values)
        assert (status, code) == (412, "PreconditionFailedException")
    client.remove_permission(FunctionName="echo", StatementId="two", RevisionId=second)


def test_a_policy_above_the_quota_is_refused(served: ControlGateway, client: Any) -> None:
    long = "arn:aws:s3:::" + "b" * 9000
    for sid in ("one", "two"):
        client.add_permission(FunctionName="echo", **{**INVOKE, "StatementId": sid}, SourceArn=long)
    status, code, members = read_refusal(
        client.add_permission, FunctionName="echo", **{**INVOKE, "StatementId": "three"}, SourceArn=long
    )
    assert (status, code) == (400, "PolicyLengthExceededException")
    assert members["message"].endswith("is bigger than the limit (20480).")


def test_the_policy_of_the_settings_wins(served: ControlGateway, client: Any) -> None:
    found = client.get_policy(FunctionName="other")
    assert json.loads(found["Policy"]) == IN_FILE
    assert client.get_policy(FunctionName="other")["RevisionId"] == found["RevisionId"]
    for call, values in ((client.add_permission, INVOKE), (client.remove_permission, {"StatementId": "bob"})):
        status, code, members = read_refusal(call, FunctionName="other", **values)
        assert (status, code) == (409, "ResourceConflictException")
        assert members["message"] == "resource_policy of other is set in the settings. Change it there."


def test_a_caller_needs_the_action_of_the_operation(served: ControlGateway, bob: Any) -> None:
    status, code, _ = read_refusal(bob.add_permission, FunctionName=ECHO, **INVOKE)
    assert (status, code) == (403, "AccessDeniedException")


# ---- the state -------------------------------------------------------------------------------------------------


def test_a_policy_is_kept_in_a_file(served: ControlGateway, client: Any, tmp_path: Path) -> None:
    client.add_permission(FunctionName="echo", **INVOKE)
    file = tmp_path / "control.json"
    file.write_bytes(encode_state(served.state))
    assert read_state(file).accounts == served.state.accounts


def test_an_export_sets_the_same_policies_again(served: ControlGateway, client: Any, bob: Any, tmp_path: Path) -> None:
    def control(*arguments: str) -> Any:
        return run("control", *arguments, "--admin", f"127.0.0.1:{served.server.admin.port}")

    client.add_permission(FunctionName="echo", **INVOKE)
    client.add_permission(FunctionName="echo", Qualifier="prod", **INVOKE, SourceArn="arn:aws:s3:::bucket")
    exported = control("export", "--json")
    document = json.loads(exported.stdout)
    whole = document["accounts"]["111122223333"]["functions"]["echo"]["policies"]
    assert [one["Sid"] for one in whole[ECHO]] == ["bob"]
    file = tmp_path / "control.json"
    file.write_text(exported.stdout)
    before = served.state.accounts["111122223333"]["echo"].policies
    control("reset", "echo", "--account", "111122223333")
    assert not invokes(bob, ECHO)
    assert control("import", str(file)).exit_code == 0
    after = served.state.accounts["111122223333"]["echo"].policies
    assert {arn: policy.statements for arn, policy in after.items()} == {
        arn: policy.statements for arn, policy in before.items()
    }
    assert invokes(bob, ECHO)


def test_an_import_replaces_a_statement_of_the_same_id(served: ControlGateway, client: Any, tmp_path: Path) -> None:
    client.add_permission(FunctionName="echo", **INVOKE)
    statement = {**policy_of(client)[0]["Statement"][0], "Principal": {"AWS": ALICE}}
    document = {"accounts": {"111122223333": {"functions": {"echo": {"policies": {ECHO: [statement]}}}}}}
    file = tmp_path / "control.json"
    file.write_text(json.dumps(document))
    result = run("control", "import", str(file), "--admin", f"127.0.0.1:{served.server.admin.port}")
    assert result.exit_code == 0, result.output
    assert policy_of(client)[0]["Statement"] == [statement]
    statement["Effect"] = "Deny"  # AddPermission makes no such statement
    file.write_text(json.dumps(document))
    result = run("control", "import", str(file), "--admin", f"127.0.0.1:{served.server.admin.port}")
    assert result.exit_code == 0, result.output
    assert policy_of(client)[0]["Statement"] == [statement]
    statement["Effect"] = "Denied"
    file.write_text(json.dumps(document))
    result = run("control", "import", str(file), "--admin", f"127.0.0.1:{served.server.admin.port}")
    assert result.exit_code != 0
    assert "'Denied' is no effect" in result.output


def test_a_whole_policy_replaces_the_statements(served: ControlGateway, client: Any, bob: Any) -> None:
    client.add_permission(FunctionName="echo", **INVOKE)
    allow = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ECHO}
    deny = {"Sid": "deny", "Effect": "Deny", "Principal": {"AWS": BOB}, "Action": "lambda:*", "Resource": ECHO}
    put = client.put_resource_policy(ResourceArn=ECHO, Policy=json.dumps({"Statement": [allow]}))
    assert json.loads(put["Policy"])["Statement"] == [allow]
    assert invokes(bob, ECHO)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    put = client.put_resource_policy(ResourceArn=ECHO, Policy=policy, RevisionId=put["RevisionId"])
    assert not invokes(bob, ECHO)
    found = client.get_resource_policy(ResourceArn=ECHO)
    assert (found["Policy"], found["RevisionId"]) == (put["Policy"], put["RevisionId"])
    assert policy_of(client) == (json.loads(put["Policy"]), put["RevisionId"])
    other = "00000000-0000-0000-0000-000000000000"
    assert read_refusal(client.delete_resource_policy, ResourceArn=ECHO, RevisionId=other)[:2] == (
        412,
        "PreconditionFailedException",
    )
    client.delete_resource_policy(ResourceArn=ECHO, RevisionId=put["RevisionId"])
    assert read_refusal(client.get_resource_policy, ResourceArn=ECHO)[1] == "ResourceNotFoundException"
    assert read_refusal(client.delete_resource_policy, ResourceArn=ECHO)[1] == "ResourceNotFoundException"
    assert served.state.accounts == {}


def test_a_whole_policy_with_a_mistake_changes_nothing(served: ControlGateway, client: Any) -> None:
    wrong = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": ECHO, "Condition": {"StringIs": {"a": "b"}}}}
    status, code, members = read_refusal(client.put_resource_policy, ResourceArn=ECHO, Policy=json.dumps(wrong))
    assert (status, code) == (400, "InvalidParameterValueException")
    assert "The policy: statement 1, Condition.StringIs: is an unknown operator." in members["message"]
    assert "has no Principal" in members["message"]
    other = ECHO.replace("echo", "other")
    assert read_refusal(client.put_resource_policy, ResourceArn=other, Policy="{}")[0] == 409
    assert read_refusal(client.delete_resource_policy, ResourceArn=other)[0] == 409
    assert json.loads(client.get_resource_policy(ResourceArn=other)["Policy"]) == IN_FILE
    assert served.state.accounts == {}


def test_without_signatures_the_backend_serves_the_operations() -> None:
    with control_gateway(LambdaBackend("echo"), accounts={"default": {}}) as served, closing(served.boto3()) as client:
        with contextlib.suppress(ClientError):
            client.add_permission(FunctionName="echo", **INVOKE)
        assert [call.target for call in served.forwarded()] == [b"/2015-03-31/functions/echo/policy"]
        assert served.state.accounts == {}
