"""Writes signature_vectors.json: requests that botocore has signed, with all that it made on the way.

.venv/bin/python -m tests.policy.identity.make_vectors
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.signing import PATH, sign

ARN_PATH = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Acheckout/invocations"
CASES: dict[str, dict[str, Any]] = {
    "invoke": {},
    "invoke-without-payload": {"body": b""},
    "invoke-by-arn": {"path": ARN_PATH},
    "invoke-with-colons-in-the-path": {"path": "/2015-03-31/functions/checkout:prod/invocations"},
    "invoke-with-space-in-the-path": {"path": "/2015-03-31/functions/with%20space/invocations"},
    "invoke-with-utf8-in-the-path": {"path": "/2015-03-31/functions/caf%C3%A9/invocations"},
    "invoke-with-qualifier": {"query": "Qualifier=%24LATEST"},
    "invoke-with-unsorted-query": {"query": "b=2&a=3&a=1&c"},
    "invoke-with-utf8-payload": {"body": '{"name": "Zoë"}'.encode()},
    "invoke-with-headers": {"headers": {"X-Amz-Invocation-Type": "Event", "X-Amz-Tenant-Id": "a  b"}},
    "invoke-with-declared-hash": {"headers": {"X-Amz-Content-Sha256": sha256(b"{}").hexdigest()}},
    "invoke-with-session-token": {"token": "FwoGZXIvYXdzEBYaDtoken+/="},
    "invoke-of-another-host": {"host": "lambda.us-east-1.amazonaws.com"},
    "invoke-with-port-in-host": {"host": "127.0.0.1:9001"},
    "get-function": {"method": "GET", "path": "/2015-03-31/functions/checkout", "body": b""},
    "delete-concurrency": {"method": "DELETE", "path": "/2017-10-31/functions/checkout/concurrency", "body": b""},
    "put-concurrency": {
        "method": "PUT",
        "path": "/2017-10-31/functions/checkout/concurrency",
        "body": b'{"ReservedConcurrentExecutions": 5}',
    },
    "presigned": {"expires": 300},
    "presigned-with-qualifier": {"expires": 300, "query": "Qualifier=prod"},
    "presigned-with-session-token": {"expires": 300, "token": "FwoGZXIvYXdzEBYaDtoken+/="},
    "presigned-get": {"expires": 300, "method": "GET", "path": PATH, "body": b""},
    "path-with-dots": {"path": "/a/./b/../c//d/"},
}


def make() -> list[dict[str, Any]]:
    """Sign every case."""
    vectors = []
    for name, values in CASES.items():
        signed = sign(**values)
        vectors.append(
            {
                "name": name,
                "token": values.get("token"),
                "canonical_request": signed.canonical_request,
                "string_to_sign": signed.string_to_sign,
                "signature": signed.signature,
                "signed_request": signed.to_bytes().decode(),
            }
        )
    return vectors


if __name__ == "__main__":
    path = Path(__file__).with_name("signature_vectors.json")
    path.write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n")
