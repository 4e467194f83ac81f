"""Holds the access keys that requests may be signed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...invocation import Caller


@dataclass(frozen=True, slots=True, repr=False)  # not a named tuple, whose attributes take longer to read
class AccessKey:
    """Holds one access key and its caller. No text of it shows a secret.

    secret: the secret access key
    session_token: the token that each request must carry; None: no request may carry one
    expires_at: the end of the session (seconds since the epoch); None: the key has no end
    caller: the caller, with the account and the ARN that a valid signature proves
    """

    secret: str
    caller: Caller
    session_token: bytes | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"<AccessKey {self.caller.access_key_id} of {self.caller.arn}>"


AccessKeys = Mapping[str, AccessKey]
"""Finds an access key by its id."""
