"""Finds the Region of a host of AWS Lambda: `lambda.eu-central-1.amazonaws.com` and its variants.

The variants are those of botocore's table of endpoints: FIPS, dual stack, every partition, and interface endpoints of a
VPC, of which the name begins with `vpce-`.
"""

from __future__ import annotations

import re

_SUFFIXES = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
_HOST = re.compile(
    r"(?:(?P<endpoint>vpce-[a-z0-9-]+)\.)?lambda(?:-fips)?\.(?P<region>[a-z]{2,8}(?:-[a-z0-9]{1,16}){1,3}-[0-9]{1,2})"
    rf"(?P<vpce>\.vpce)?\.(?:{'|'.join(map(re.escape, _SUFFIXES))})\.?"
)


def find_lambda_region(host: str) -> str | None:
    """Returns the Region of a host of Lambda's; None for any other host."""
    found = _HOST.fullmatch(host.lower())
    if found is None or (found["endpoint"] is None) != (found["vpce"] is None):
        return None
    return found["region"]
