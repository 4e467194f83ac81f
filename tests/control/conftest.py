"""One gateway and one SDK client for the tests of a file. Each test begins with nothing set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.lambda_backend import ControlGateway, LambdaBackend, control_gateway

ACCOUNT = {"concurrent_executions": 200, "requests_per_second": "off"}


@pytest.fixture(scope="module")
def module_gateway() -> Iterator[ControlGateway]:
    with control_gateway(LambdaBackend(), accounts={"default": ACCOUNT}) as started:
        yield started


@pytest.fixture(scope="module")
def client(module_gateway: ControlGateway) -> Iterator[Any]:
    with closing(module_gateway.boto3()) as made:
        yield made


@pytest.fixture
def served(module_gateway: ControlGateway) -> ControlGateway:
    """A gateway of 200 slots, before a backend with the functions `echo` (versions 1, 2 and 3; the alias `prod` of 1,
    and `weighted` of 2 and 3), `hold` and `other`."""
    backend = LambdaBackend("echo", "hold", "other")
    backend.functions["echo"] = ["1", "2", "3"]
    backend.aliases["echo", "prod"] = ("1", {})
    backend.aliases["echo", "weighted"] = ("2", {"3": 0.1})
    module_gateway.reset(backend)
    return module_gateway


def read_refusal(call: Any, **arguments: Any) -> tuple[int, str, dict[str, Any]]:
    """Calls, and returns status, code and members of the refusal, as botocore finds them in its body."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    members = {name: value for name, value in answer.items() if name not in ("Error", "ResponseMetadata")}
    if answer["Error"]["Code"] == "ValidationException":  # not in the model, so botocore keeps none of its members
        members = {"message": answer["Error"]["Message"]}
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], members
