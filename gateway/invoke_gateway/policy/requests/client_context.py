"""Checks that a client context is one that Lambda accepts: a JSON object, in Base64.

AWS refuses any other with InvalidRequestContentException (boto/boto3#2153 quotes the answer). It does not publish how
lenient its decoder is. Here the text must be Base64 as RFC 4648, section 4, has it: with padding, in the standard
alphabet, without line ends. An empty header is no client context.
"""

from __future__ import annotations

import binascii

from ..payloads.json_text import find_json_error

_WHITE_SPACE = b" \t\n\r"


def is_client_context(value: bytes) -> bool:
    """Returns whether the value of `X-Amz-Client-Context` is empty, or a JSON object in Base64."""
    if not value:
        return True
    try:
        text = binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        return False
    return text.lstrip(_WHITE_SPACE).startswith(b"{") and find_json_error(text) is None
