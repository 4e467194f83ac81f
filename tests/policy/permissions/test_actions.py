"""Assert which action and resource a request has, for every operation of the service model."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from invoke_gateway.invocation import Function
from invoke_gateway.policy.permissions.actions import (
    UNKNOWN_OPERATION,
    RequestedAction,
    find_action,
    has_ambiguous_qualifier,
    name_action,
    name_function,
)
from invoke_gateway.policy.permissions.routes import INVOKE_OPERATIONS, OPERATIONS

HERE = "arn:aws:lambda:us-east-1:111122223333"
MODEL = get_session().get_service_model("lambda")
VALUES = {
    "FunctionName": "checkout",
    "ResourceArn": f"{HERE}:function:checkout",
    "Resource": f"{HERE}:function:checkout",
    "CodeSigningConfigArn": f"{HERE}:code-signing-config:csc-1",
    "DurableExecutionArn": f"{HERE}:function:checkout:1/durable-execution/a/b",
}


def find(method: str, target: str) -> RequestedAction:
    path, _, query = target.partition("?")
    return find_action(method, path.encode(), query.encode(), region="us-east-1", account="111122223333")


def test_the_table_has_the_operations_of_the_service_model() -> None:
    assert sorted(OPERATIONS) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("operation", [name for name in MODEL.operation_names if name not in INVOKE_OPERATIONS])
def test_each_operation_has_its_own_action(operation: str) -> None:
    http = MODEL.operation_model(operation).http
    target = http["requestUri"]
    for name in ("FunctionName", "ResourceArn", "Resource", "CodeSigningConfigArn", "DurableExecutionArn"):
        target = target.replace("{" + name + "}", VALUES[name].replace(":", "%3A").replace("/", "%2F"))
    target = target.replace("{", "").replace("}", "")
    if operation == "GetLayerVersionByArn":
        target += f"&Arn={HERE}:layer:tools:3"
    found = find(http["method"], target)
    assert found.action == name_action(operation)
    if "functions/checkout" in target:
        assert found == RequestedAction(found.action, f"{HERE}:function:checkout")


@pytest.mark.parametrize("operation", INVOKE_OPERATIONS)
def test_the_operations_that_invoke_have_one_action(operation: str) -> None:
    assert name_action(operation) == "lambda:InvokeFunction"


@pytest.mark.parametrize(
    ("method", "target", "resource", "account"),
    [
        ("GET", "/2015-03-31/functions/checkout?Qualifier=prod", f"{HERE}:function:checkout:prod", None),
        ("GET", "/2015-03-31/functions/checkout:prod/", f"{HERE}:function:checkout:prod", None),
        ("GET", "/2099-01-01/functions/checkout", f"{HERE}:function:checkout", None),
        (
            "GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A444455556666%3Afunction%3Af",
            "arn:aws:lambda:us-east-1:444455556666:function:f", "444455556666",
        ),
        ("GET", "/2015-03-31/functions/444455556666:f", "arn:aws:lambda:us-east-1:444455556666:function:f",
         "444455556666"),
        ("GET", "/2015-03-31/functions", "*", None),
        ("DELETE", "/2015-03-31/event-source-mappings/u-1", f"{HERE}:event-source-mapping:u-1", None),
        ("GET", "/2018-10-31/layers/tools/versions/3", f"{HERE}:layer:tools:3", "111122223333"),
        ("GET", "/2018-10-31/layers/tools/versions", f"{HERE}:layer:tools", "111122223333"),
        ("GET", f"/2018-10-31/layers?find=LayerVersion&Arn={HERE}:layer:tools:3", f"{HERE}:layer:tools:3",
         "111122223333"),
        ("GET", f"/2017-03-31/tags/{HERE}:function:checkout", f"{HERE}:function:checkout", "111122223333"),
    ],
)  # fmt: skip
def test_a_request_has_the_resource_that_it_names(method: str, target: str, resource: str, account: str | None) -> None:
    found = find(method, target)
    assert (found.resource, found.account, found.is_resource_known) == (resource, account, True)


def test_a_function_that_only_the_body_names_is_any() -> None:
    found = find("POST", "/2015-03-31/functions")
    assert found == RequestedAction("lambda:CreateFunction", f"{HERE}:function:*", is_resource_known=False)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/functions/checkout"),
        ("PATCH", "/2015-03-31/functions/checkout"),
        ("GET", "//2015-03-31/functions/checkout"),
        ("GET", "/2015-03-31//functions/checkout"),
        ("DELETE", "/2015-03-31/functions//"),
        ("DELETE", "/2015-03-31/Functions/checkout"),
        ("DELETE", "/2015-03-31/%66unctions/checkout"),
        ("DELETE", "/x/2015-03-31/functions/checkout"),
        ("DELETE", "/2015-03-31/functions/a/../checkout"),
        ("GET", "/2015-03-31/functions/checkout?Qualifier=1&Qualifier=2"),
        ("GET", "/2015-03-31/functions/checkout?Qualifier=1&qualifier=2"),
        ("PUT", "/2025-03-07/web-functions/checkout"),
    ],
)
def test_another_path_has_the_action_of_all_operations(method: str, target: str) -> None:
    assert find(method, target) == UNKNOWN_OPERATION


def test_only_operations_that_take_a_qualifier_have_one_in_their_resource() -> None:
    """Else a deny for a function could be passed by with a qualifier that nobody reads."""
    for operation in MODEL.operation_names:
        model = MODEL.operation_model(operation)
        target = model.http["requestUri"]
        if "{FunctionName}" not in target or operation in INVOKE_OPERATIONS:
            continue
        takes_one = "Qualifier" in model.input_shape.members
        target = target.replace("{FunctionName}", "checkout").replace("{Name}", "a").replace("{StatementId}", "s")
        target += ("&" if "?" in target else "?") + "Qualifier=prod"
        expected = f"{HERE}:function:checkout" + (":prod" if takes_one else "")
        assert find(model.http["method"], target).resource == expected, operation


@pytest.mark.parametrize(
    "target",
    [
        "/2015-03-31/functions/check%252Dout",
        "/2015-03-31/functions/a%2Faliases%2Fb",
        "/2015-03-31/functions/..",
        "/2015-03-31/functions/a:b:c:d",
        "/2015-03-31/functions/checkout:1?Qualifier=2",
        "/2015-03-31/functions/checkout?Qualifier=%2531",
        "/2015-03-31/functions/checkout/aliases/..%2F..%2Fother",
        "/2015-03-31/functions/checkout/aliases/..",
        "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af%2F..%2F..%2Fx",
        "/2017-03-31/tags/checkout",
        "/2015-03-31/event-source-mappings/u%2F1",
    ],
)
def test_a_name_that_another_reading_turns_into_another_one_is_not_known(target: str) -> None:
    assert find("GET", target) == UNKNOWN_OPERATION


@pytest.mark.parametrize(
    ("query", "is_ambiguous"),
    [
        (b"", False),
        (b"Qualifier=1", False),
        (b"x=1&Qualifier=1", False),
        (b"Qualifier=1&Qualifier=1", True),
        (b"qualifier=1", True),
        (b"Qualifier=1&%51ualifier=2", True),
        (b"Qualifier=1&QUALIFIER", True),
    ],
)
def test_a_qualifier_is_ambiguous_when_backends_may_read_another(query: bytes, is_ambiguous: bool) -> None:
    assert has_ambiguous_qualifier(query) is is_ambiguous


def test_the_arn_of_a_function_has_a_qualifier_only_where_the_caller_gave_one() -> None:
    assert name_function(Function("f"), region="cn-north-1", account="111122223333") == (
        "arn:aws-cn:lambda:cn-north-1:111122223333:function:f"
    )
    assert name_function(Function("f", "$LATEST", "444455556666"), region="us-east-1", account="1").endswith(
        ":444455556666:function:f:$LATEST"
    )
