"""Answers as a gateway that does everything right gives them."""

from __future__ import annotations

import json

from loadtests.load.judging import Answer, Ceilings

REQUEST_ID = "6a0d5b6e-6f1f-4ad5-a02b-1c3d7b6d9f55"
CEILINGS = Ceilings(account=20, pool=12, reserved={"checkout": 8})


def throttle(reason: str, *, without: str = "", **changes: str | None) -> Answer:
    """A 429 with that reason; `without` names a header that it lacks, `changes` replace members of its body."""
    headers = {"x-amzn-errortype": "TooManyRequestsException", "x-amzn-requestid": REQUEST_ID, "retry-after": "1"}
    headers.pop(without, None)
    members = {"Reason": reason, "Type": "User", "message": "Rate Exceeded.", **changes}
    body = json.dumps({name: text for name, text in members.items() if text is not None}).encode()
    return Answer(429, headers, body)


def success(body: bytes = b"{}", status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"x-amzn-requestid": REQUEST_ID, **named}, body)
