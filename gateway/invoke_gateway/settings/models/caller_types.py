"""Defines the types of single values of `callers`."""

import re
from typing import Annotated

from pydantic import Field, PlainValidator

from invoke_gateway.settings.descriptions import Description, invalid_value

_SOURCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|(?:file|command):[^\0\n]*[^\0\s]", re.ASCII)
_SOURCES = "env:NAME, file:/path or command:PROGRAM ARGUMENTS"
_WHO = r"root|(?:user|role|assumed-role|federated-user)/[A-Za-z0-9_+=,.@/-]{1,512}"
ARN_PATTERN = rf"arn:aws[a-z-]*:(?:iam|sts)::[0-9]{{12}}:(?:{_WHO})"
CALLER_PATTERN = rf"^(?:{ARN_PATTERN}|[^/,=\s]{{1,128}})$"


def read_secret_source(value: object) -> str:
    """Accepts the name of a source. No message repeats the value: it may be the secret itself."""
    if isinstance(value, str) and _SOURCE.fullmatch(value) is not None:
        return value
    cure = "put the secret into a variable or a file, and name it here"
    raise invalid_value(f"must be {_SOURCES}; its value is not shown", cure)


SecretSource = Annotated[
    str, PlainValidator(read_secret_source, json_schema_input_type=str), Description(f"a text such as {_SOURCES}")
]
CallerArn = Annotated[
    str,
    Field(strict=True, pattern=f"^{ARN_PATTERN}$"),
    Description("the ARN of a user or role", "write it as arn:aws:iam::111122223333:user/alice"),
]
CallerName = Annotated[
    str,
    Field(strict=True, pattern=CALLER_PATTERN),
    Description(
        "an access key id, or the ARN of a user or role",
        "write it as AKIAIOSFODNN7EXAMPLE or arn:aws:iam::111122223333:user/alice",
    ),
]
