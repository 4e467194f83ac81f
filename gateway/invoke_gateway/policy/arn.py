"""Writes the ARN of a function, in the partition of its Region or of the caller's ARN.

A partition is a part of AWS with accounts and Regions of its own: `aws`, China's `aws-cn`, `aws-us-gov`, the isolated
ones. An ARN of another partition names nothing, so the partition of the ARN that a caller gave is kept, else it is the
Region's. The tables have the facts of botocore's data/partitions.json (version 1.44), which a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from ..invocation import Function

_USUAL = "aws"
_PARTITIONS = {
    "cn": "aws-cn",
    "eusc": "aws-eusc",
    "us-gov": "aws-us-gov",
    "us-iso": "aws-iso",
    "us-isob": "aws-iso-b",
    "eu-isoe": "aws-iso-e",
    "us-isof": "aws-iso-f",
}
_REGION_START = re.compile(r"cn|eusc|[a-z]{2}-(?:gov|iso[a-z]?)")

DOMAINS: Mapping[str, str] = {
    _USUAL: "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-us-gov": "amazonaws.com",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""Return the domain that the names of a partition's endpoints end in."""


@lru_cache(64)
def find_partition(region: str) -> str:
    """Returns the partition of a Region; `aws` where the Region is in no list, as botocore has it."""
    start = _REGION_START.match(region)
    if start is None or not region.startswith("-", start.end()):
        return _USUAL
    return _PARTITIONS.get(start[0], _USUAL)


def make_arn(function: Function, *, region: str, account: str) -> str:
    """Returns the function's ARN, always with a qualifier, as in AWS's records. `region` and `account` stand in for
    those that the caller did not name."""
    return f"{make_prefix(function, region, account)}{function.name}:{function.qualifier or '$LATEST'}"


def make_prefix(function: Function, region: str, account: str) -> str:
    """Returns the function's ARN up to its name."""
    place = function.region or region
    partition = function.partition or find_partition(place)
    return f"arn:{partition}:lambda:{place}:{function.account or account}:function:"
