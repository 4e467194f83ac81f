"""Who calls, and which account's limits that means.

Nothing is verified yet: an access key id is only read. So an id that the settings do not know must not open a pool
or a rate of its own, or inventing ids would mint capacity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..invocation import ANONYMOUS, Caller

_CREDENTIAL = re.compile(rb"Credential=([^/,=\s]{1,128})(?:[/,\s]|$)")
_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)


def parse_caller(authorization: bytes | None, credentials: Mapping[str, str]) -> Caller:
    """The caller named in an `Authorization` header; `credentials` maps access key ids to account ids.

    A 12-digit access key id is itself the account, as the emulators have it.
    """
    found = _CREDENTIAL.search(authorization) if authorization else None
    if found is None:
        return ANONYMOUS
    access_key_id = found[1].decode("latin-1")
    account = credentials.get(access_key_id)
    if account is None and _ACCOUNT_ID.fullmatch(access_key_id):
        account = access_key_id
    return Caller(access_key_id, account)
