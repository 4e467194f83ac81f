"""Reads secrets from environment variables and files: settings and options name the place, never the secret itself.

Only the standard library is imported: `admin_client` and the tests of other projects use this module.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

FORMS = "env:NAME or file:/path"

_LONGEST = 64 * 1024  # bytes of a file; a secret has at most a few thousand
# Rights that a file with a secret must not give: to write for its group, and any to all others. The group may read it,
# because Kubernetes gives a mounted secret to the group of the pod (fsGroup).
_FORBIDDEN = stat.S_IWGRP | stat.S_IRWXO
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750


class SecretUnavailable(Exception):
    """Reports a secret that cannot be read.

    problem: the reason; it never has the secret
    cure: the action
    """

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem}: {cure}")
        self.problem = problem
        self.cure = cure


def is_secret_source(text: str) -> bool:
    """Returns whether a text has the form of the place of a secret."""
    return text.startswith(("env:", "file:"))


def read_secret(source: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns the secret at `source`, without the spaces and line ends around it. Raises `SecretUnavailable`."""
    kind, _, name = source.partition(":")
    if kind == "env" and name:
        return _check(environ.get(name, ""), f"the environment variable {name} is not set, or empty", f"set {name}")
    if kind == "file" and name:
        return _check(_read_file(name), f"the file {name} is empty", "write the secret into it")
    # The text is not repeated: it may be a secret that was written in the wrong place.
    raise SecretUnavailable("does not name the place of a secret", f"write {FORMS}; the secret itself stands there")


def read_token(source: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns the bearer token at `source`. Raises `SecretUnavailable`."""
    token = read_secret(source, environ)
    if not _TOKEN.fullmatch(token):
        problem = f"the token at {source} has characters that a bearer token cannot have"
        raise SecretUnavailable(problem, "use letters, digits and . _ ~ + / - only, as `openssl rand -hex 32` does")
    return token


def _check(secret: str, problem: str, cure: str) -> str:
    secret = secret.strip()
    if not secret:
        raise SecretUnavailable(problem, cure)
    return secret


def _read_file(name: str) -> str:
    """Reads a file that only its owner, and at most its group, may read."""
    try:
        with Path(name).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode  # of the file that is read, not of one that took its name since
            if mode & _FORBIDDEN:
                problem = f"the file {name} has the mode {stat.S_IMODE(mode):04o}, so other users can read or change it"
                raise SecretUnavailable(problem, f"chmod 600 {name}")
            content = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        problem = f"cannot read the file {name}: {getattr(error, 'strerror', None) or error}"
        raise SecretUnavailable(problem, "give a file that this process may read") from None
    if len(content) > _LONGEST:
        raise SecretUnavailable(f"the file {name} is longer than {_LONGEST} bytes", "give the file of one secret")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"the file {name} is not UTF-8 text", "give the file of one secret") from None
