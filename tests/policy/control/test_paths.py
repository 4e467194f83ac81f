"""Control operations by method and path, as botocore writes them and as other clients may."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import botocore.session
import pytest

from invoke_gateway.invocation import Function
from invoke_gateway.policy.control.errors import ControlRefusal
from invoke_gateway.policy.control.paths import (
    ControlOperation,
    ControlTarget,
    find_control,
    find_function,
    find_name_problems,
    parse_name,
)
from invoke_gateway.refusals import Refusal

MODEL = botocore.session.get_session().get_service_model("lambda")
ARN = "arn:aws:lambda:us-east-1:111122223333:function:f"

FUNCTION_ARN = "arn:aws:lambda:us-east-1:111122223333:function:f:prod"


@pytest.mark.parametrize("operation", list(ControlOperation))
def test_every_operation_is_found_by_the_models_path(operation: ControlOperation) -> None:
    http: dict[str, Any] = MODEL.operation_model(operation).http
    uri = http["requestUri"].replace("{FunctionName}", "f%3Aprod").replace("{Name}", "live")
    uri = uri.replace("{ResourceArn}", quote(FUNCTION_ARN, safe=""))
    path, _, query = uri.partition("?")
    target = find_control(http["method"], path.encode(), query.encode())
    assert target is not None
    assert target.operation is operation
    names = {"{FunctionName}": "f:prod", "{ResourceArn}": FUNCTION_ARN}
    assert target.name == next((name for key, name in names.items() if key in http["requestUri"]), "")
    assert target.alias == ("live" if "{Name}" in http["requestUri"] else "")


def test_a_policy_of_a_runtime_is_the_backends() -> None:
    arn = "arn:aws:lambda:us-east-1::runtime/abc".replace(":", "%3A").replace("/", "%2F")
    assert find_control("GET", f"/2026-07-09/resource-policy/{arn}".encode(), b"") is None


def test_no_other_operation_of_the_model_is_taken_for_one() -> None:
    ours = set(ControlOperation)
    for name in MODEL.operation_names:
        if name in ours:
            continue
        http = MODEL.operation_model(name).http
        path, _, query = http["requestUri"].replace("{", "").replace("}", "").partition("?")
        assert find_control(http["method"], path.encode(), query.encode()) is None, name


@pytest.mark.parametrize(
    "path",
    [
        "/2019-09-30/functions/f/concurrency",  # the date of Get
        "/2017-10-31/functions/f/concurrency/",
        "/2017-10-31/functions/%66/concurrency",
    ],
)
def test_a_put_in_another_spelling_does_not_pass_to_the_backend(path: str) -> None:
    target = find_control("PUT", path.encode(), b"")
    assert target == ControlTarget(ControlOperation.PUT_FUNCTION_CONCURRENCY, "f", {})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/2015-03-31/functions/f/invocations"),
        ("GET", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/"),
        ("POST", "/2017-10-31/functions/f/concurrency"),
        ("GET", "/"),
        ("GET", "/functions/f/concurrency"),
        ("PUT", "/2017-10-31/functions/f/g/concurrency"),
        ("GET", "/2016-08-19/account-settings/x"),
    ],
)
def test_other_requests_pass(method: str, path: str) -> None:
    assert find_control(method, path.encode(), b"") is None


def put(name: str, **query: str) -> ControlTarget:
    return ControlTarget(ControlOperation.PUT_EVENT_INVOKE, name, query)


def test_the_function_has_the_qualifier_of_name_or_query() -> None:
    assert find_function(put(f"{ARN}:prod"), "us-east-1") == Function("f", "prod", "111122223333", "us-east-1", None)
    assert find_function(put("f", Qualifier="2"), "us-east-1") == Function("f", "2")
    assert find_function(put("f:2", Qualifier="2"), "us-east-1") == Function("f", "2")
    differing, elsewhere = find_function(put("f:1", Qualifier="2"), "us-east-1"), find_function(put(ARN), "eu-west-1")
    assert isinstance(differing, ControlRefusal)
    assert differing.error is Refusal.QUALIFIER_CONFLICT
    assert isinstance(elsewhere, ControlRefusal)
    assert elsewhere.text == "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"


@pytest.mark.parametrize(
    ("operation", "name", "problems"),
    [
        (ControlOperation.PUT_FUNCTION_CONCURRENCY, "a.b", 1),  # no dots here
        (ControlOperation.PUT_EVENT_INVOKE, "a.b", 0),
        (ControlOperation.PUT_FUNCTION_CONCURRENCY, "a" * 141, 1),
        (ControlOperation.PUT_EVENT_INVOKE, "a" * 256, 0),
        (ControlOperation.PUT_RECURSION, "f:prod", 1),
        (ControlOperation.PUT_FUNCTION_CONCURRENCY, "f:prod", 0),  # well-formed: an operation refuses it otherwise
        (ControlOperation.PUT_PROVISIONED, "f", 1),  # a qualifier is required
        (ControlOperation.PUT_PROVISIONED, "f:prod", 0),
        (ControlOperation.PUT_FUNCTION_CONCURRENCY, "", 1),
        (ControlOperation.PUT_FUNCTION_CONCURRENCY, "a b", 1),
    ],
)
def test_names_have_the_models_length_and_pattern(operation: ControlOperation, name: str, problems: int) -> None:
    assert len(find_name_problems(ControlTarget(operation, name, {}))) == problems


def test_a_partition_is_kept_only_where_it_is_not_the_regions() -> None:
    assert parse_name(ARN).partition == "aws"
    found = find_function(put("arn:aws-cn:lambda:us-east-1:111122223333:function:f"), "us-east-1")
    assert isinstance(found, Function)
    assert found.partition == "aws-cn"
