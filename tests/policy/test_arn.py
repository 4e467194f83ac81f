"""The partition of a function's ARN."""

from __future__ import annotations

import json
import re
from pathlib import Path

import botocore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import Function
from invoke_gateway.policy.arn import DOMAINS, find_partition, make_arn
from invoke_gateway.policy.events.destination_url import parse_destination_url
from invoke_gateway.policy.recursion import hash_function

ACCOUNT = "111122223333"
PARTITIONS = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())["partitions"]
REGIONS = [(name, each["id"]) for each in PARTITIONS for name in each["regions"] if not name.endswith("-global")]
OF_EACH = {
    "us-east-1": "aws",
    "cn-northwest-1": "aws-cn",
    "us-gov-west-1": "aws-us-gov",
    "us-iso-east-1": "aws-iso",
    "us-isob-east-1": "aws-iso-b",
    "eu-isoe-west-1": "aws-iso-e",
    "us-isof-south-1": "aws-iso-f",
    "eusc-de-east-1": "aws-eusc",
}


@pytest.mark.parametrize(("region", "partition"), [*OF_EACH.items(), *REGIONS])
def test_every_region_that_botocore_knows_is_in_its_partition(region: str, partition: str) -> None:
    assert find_partition(region) == partition


@pytest.mark.parametrize(
    "region", ["cn-south-9", "us-gov-east-7", "us-isob-north-3", "eusc-de-west-2", "eu-isoe-east-4"]
)
def test_a_region_that_is_new_is_in_the_partition_whose_pattern_it_has(region: str) -> None:
    (expected,) = (each["id"] for each in PARTITIONS if re.match(each["regionRegex"], region))
    assert find_partition(region) == expected


@pytest.mark.parametrize(
    "region", ["", "local", "us", "cn", "cnx-north-1", "us-govern-1", "euscity-1", "us-isox-east-1"]
)
def test_a_region_that_is_none_is_in_the_usual_partition(region: str) -> None:
    assert find_partition(region) == "aws"


def test_the_domains_are_botocores() -> None:
    assert dict(DOMAINS) == {each["id"]: each["outputs"]["dnsSuffix"] for each in PARTITIONS}


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda each: each["id"])
@pytest.mark.parametrize("suffix", ["dnsSuffix", "dualStackDnsSuffix"])
def test_a_queue_of_each_partition_is_taken_for_one_of_aws(partition: dict[str, dict[str, str]], suffix: str) -> None:
    queue = parse_destination_url(f"sqs+https://sqs.xx-north-1.{partition['outputs'][suffix]}/{ACCOUNT}/dlq")
    assert queue[3:] == ("xx-north-1", True)


@pytest.mark.parametrize(("region", "partition"), OF_EACH.items())
def test_an_arn_has_the_partition_of_its_region(region: str, partition: str) -> None:
    assert make_arn(Function("f"), region=region, account=ACCOUNT) == (
        f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:f:$LATEST"
    )
    named = Function("f", "live", "444455556666", region)
    assert make_arn(named, region="us-east-1", account=ACCOUNT) == (
        f"arn:{partition}:lambda:{region}:444455556666:function:f:live"
    )


def test_the_partition_of_an_arn_goes_before_its_regions() -> None:
    named = Function("f", None, ACCOUNT, "us-east-1", "aws-cn")
    assert make_arn(named, region="us-east-1", account=ACCOUNT).startswith("arn:aws-cn:lambda:us-east-1:")


def test_a_lineage_counts_a_function_by_its_arn() -> None:
    """The first digits of the ARN's SHA-256."""
    assert hash_function("us-east-1", "000000000000", "checkout") == b"e4103c89"
    assert hash_function("cn-north-1", "000000000000", "checkout") == b"29cabd0b"
    assert len({hash_function(region, ACCOUNT, "f") for region in OF_EACH}) == len(OF_EACH)


@given(st.text(max_size=30))
def test_no_region_is_too_strange(region: str) -> None:
    assert find_partition(region) in DOMAINS
