"""Finds the target of a destination that is given as an ARN, as Lambda's operations give it.

An ARN names a resource, and not where it is reached. Functions are reached through the gateway itself, and queues at an
endpoint of the settings. The gateway delivers to no other service by ARN.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_QUEUE = re.compile(r"arn:aws[a-zA-Z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):(?P<name>[a-zA-Z0-9_.-]+)")
_FUNCTION = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):[0-9]{12}:function:[a-zA-Z0-9._-]{1,256}"
    r"(?::(?:\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?"
)


class UnreachableDestination(NamedTuple):
    """Holds the reason why nothing can be delivered to an ARN, with the action."""

    reason: str


def find_target(arn: str, *, region: str, sqs_endpoint: str | None) -> str | UnreachableDestination:
    """Returns the target of an ARN, in the form that settings have.

    region: the gateway's
    sqs_endpoint: the origin of SQS; None: queues cannot be reached
    """
    queue = _QUEUE.fullmatch(arn)
    if queue is not None:
        if sqs_endpoint is None:
            return UnreachableDestination(
                "its queue is reached at an endpoint, which control.sqs_endpoint names, such as http://127.0.0.1:4566"
            )
        return f"sqs+{sqs_endpoint}/{queue['account']}/{queue['name']}"
    function = _FUNCTION.fullmatch(arn)
    if function is not None:
        if function["region"] != region:
            return UnreachableDestination(f"it is in {function['region']}, and the gateway serves {region}")
        return arn
    service = arn.split(":")[2] if arn.count(":") > 1 and arn.startswith("arn:") else arn.partition(":")[0]
    return UnreachableDestination(
        f"the gateway delivers to functions and SQS queues, and not to {service!r}; "
        "name another target with on_success or on_failure in the settings"
    )
