"""Events of other partitions than `aws`: the partition is kept from the request to the last target."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from invoke_gateway.policy.arn import find_partition
from tests.support.backends import BackendCall, ScriptedBackend
from tests.support.clients import call, invoke_path
from tests.support.gateways import eventually, serving

REGIONS = ["cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]
OTHER = "444455556666"
EVENT = {"X-Amz-Invocation-Type": "Event"}


async def fail_report(arrived: BackendCall) -> None:
    headers = {"X-Amz-Function-Error": "Unhandled"} if b"report" in arrived.target else {}
    arrived.answer(200, b'{"errorMessage": "no"}', headers)


@pytest.mark.parametrize("region", REGIONS)
async def test_the_records_and_runs_of_an_event_stay_in_their_partition(region: str, tmp_path: Path) -> None:
    """Called by name, by ARN and by InvokeAsync; told to a file and to a function that an ARN names."""
    prefix = f"arn:{find_partition(region)}:lambda:{region}"
    failures, dead = tmp_path / "failures.jsonl", tmp_path / "dead.jsonl"
    functions = {
        "report": {
            "maximum_retry_attempts": 0,
            "on_failure": f"file://{failures}",
            "dead_letter_queue": f"file://{dead}",
        },
        "report-to-function": {"maximum_retry_attempts": 0, "on_failure": f"{prefix}:{OTHER}:function:cleanup:live"},
    }
    settings = {"region": region, "accounts": {"default": {"functions": functions}, OTHER: {"functions": functions}}}
    arn = f"{prefix}:{OTHER}:function:report"

    async with ScriptedBackend() as backend, serving(backend.url, **settings) as gateway:
        backend.script = fail_report
        assert (await call(gateway.listen, invoke_path("report"), b"{}", EVENT)).status == 202
        assert (await call(gateway.listen, f"/2014-11-13/functions/{arn}/invoke-async", b"{}")).status == 202
        assert (await call(gateway.listen, invoke_path("report-to-function"), b"{}", EVENT)).status == 202
        await eventually(lambda: len(backend.requests) == 4, lambda: str(backend.requests), 20)
        await eventually(lambda: failures.exists() and len(failures.read_text().splitlines()) == 2, "two records", 20)
        await eventually(lambda: dead.exists() and len(dead.read_text().splitlines()) == 2, "two dead letters", 20)
        paths = {unquote(arrived.target.decode()) for arrived in backend.requests}

    assert paths == {
        invoke_path("report"),
        invoke_path(arn),
        invoke_path("report-to-function"),
        invoke_path(f"{prefix}:{OTHER}:function:cleanup:live"),
    }
    expected = {f"{prefix}:000000000000:function:report:$LATEST", f"{arn}:$LATEST"}
    told = [json.loads(line) for line in failures.read_text().splitlines()]
    assert {record["record"]["requestContext"]["functionArn"] for record in told} == expected
    assert {json.loads(line)["function"] for line in dead.read_text().splitlines()} == expected
