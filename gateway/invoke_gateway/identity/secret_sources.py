"""Reads secrets from their sources: a variable of the environment, a file, or the output of a command.

No error has any part of a secret, of a file or of what a command has printed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

COMMAND_SECONDS = 30.0
_LARGEST_FILE = 65_536  # bytes
_FOR_OTHERS = stat.S_IROTH | stat.S_IWOTH


class UnreadableSecret(Exception):
    """Reports a source that has no secret: what is wrong, and the cure.

    is_of_token: it is the source of a session token
    """

    is_of_token = False

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}. {self.cure[:1].upper()}{self.cure[1:]}."


class Secret(NamedTuple):
    """Holds what a source has about one access key. No text of it shows the secret.

    expires_at: seconds since the epoch; None: it does not expire
    """

    secret: str
    session_token: str | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"<Secret, expires at {self.expires_at}>"


class SecretReader:
    """Reads sources once each: several access keys may name one command.

    runs_commands: else only their program is looked for
    """

    def __init__(self, *, runs_commands: bool = True) -> None:
        self._runs_commands = runs_commands
        self._texts: dict[str, str] = {}

    def read(self, source: str, access_key_id: str) -> Secret:
        """Returns the secret of an access key. Raises `UnreadableSecret`."""
        text = self.read_text(source)
        if not text.startswith("{") and not source.startswith("command:"):
            return Secret(text)
        if not text:
            return Secret("")  # of a command that is not run
        return _parse(text, source, access_key_id)

    def read_token(self, source: str, access_key_id: str) -> str | None:
        """Returns the session token of an access key. Raises `UnreadableSecret`."""
        try:
            return self._read_token(source, access_key_id)
        except UnreadableSecret as error:
            error.is_of_token = True
            raise

    def _read_token(self, source: str, access_key_id: str) -> str | None:
        text = self.read_text(source)
        if not text.startswith("{"):
            return text or None
        token = _parse(text, source, access_key_id).session_token
        if token is None:
            raise UnreadableSecret(f"{_name(source)} has no session_token of {access_key_id}", "add it there")
        return token

    def read_text(self, source: str) -> str:
        """Returns the text of a source. Raises `UnreadableSecret`."""
        if source not in self._texts:
            kind, _, rest = source.partition(":")
            read: Callable[[str], str] = {"env": _read_variable, "file": _read_file, "command": self._run}[kind]
            self._texts[source] = read(rest)
        return self._texts[source]

    def _run(self, command: str) -> str:
        try:
            arguments = shlex.split(command)
        except ValueError as error:
            raise UnreadableSecret(f"the command cannot be split: {error}", "correct its quotes") from None
        if not arguments or shutil.which(arguments[0]) is None:
            message = f"the program {arguments[0] if arguments else ''!r} of the command is not found"
            raise UnreadableSecret(message, "give a program on the PATH, or its whole path")
        if not self._runs_commands:
            return ""
        name = f"the command {arguments[0]}"
        cure = "run it by hand; it must print JSON within 30 s"
        try:
            done = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = "did not end within 30 s" if isinstance(error, subprocess.TimeoutExpired) else str(error.strerror)
            raise UnreadableSecret(f"{name} failed: {why}", cure) from None
        if done.returncode:
            raise UnreadableSecret(f"{name} failed with exit status {done.returncode}", cure)
        return _decode(done.stdout, name) or "{}"


def _read_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        problem = "is not set" if value is None else "is empty"
        raise UnreadableSecret(f"the variable {name} {problem}", "set it in the environment of the gateway")
    return value


def _read_file(name: str) -> str:
    path = Path(name)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        why, cure = error.strerror, "give a file that the gateway may read"
        raise UnreadableSecret(f"the file {name} cannot be read: {why}", cure) from None
    if mode & _FOR_OTHERS:
        shown = stat.filemode(mode)
        cure = f"run chmod o= {shlex.quote(name)}"
        raise UnreadableSecret(f"the file {name} may be read or written by every user ({shown})", cure)
    text = _decode(data, f"the file {name}")
    if not text or len(data) > _LARGEST_FILE:
        problem = "is larger than 64 KiB" if text else "is empty"
        raise UnreadableSecret(f"the file {name} {problem}", "write the secret alone into it, or JSON")
    return text


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise UnreadableSecret(f"{name} has bytes that are not UTF-8", "write the secret as text") from None


def _name(source: str) -> str:
    kind, _, rest = source.partition(":")
    return f"the command {shlex.split(rest)[0]}" if kind == "command" else f"the {kind} {rest}"


def _parse(text: str, source: str, access_key_id: str) -> Secret:
    """Returns the secret of an access key in JSON of two forms: by access key id, or as AWS's credential_process."""
    name = _name(source)
    cure = f'print {{"{access_key_id}": {{"secret": …}}}}, or the form of credential_process'
    try:
        document: Any = json.loads(text)
    except ValueError:
        raise UnreadableSecret(f"{name} gives text that is not JSON", cure) from None
    if not isinstance(document, dict):
        raise UnreadableSecret(f"{name} gives JSON that is no object", cure)
    found: Any = document.get(access_key_id)
    if document.get("AccessKeyId") == access_key_id:
        found = {
            "secret": document.get("SecretAccessKey"),
            "session_token": document.get("SessionToken"),
            "expires": document.get("Expiration"),
        }
    if not isinstance(found, dict) or not isinstance(found.get("secret"), str) or not found["secret"]:
        raise UnreadableSecret(f"{name} gives no secret of {access_key_id}", cure)
    token = found.get("session_token")
    if token is not None and not (isinstance(token, str) and token):
        raise UnreadableSecret(f"{name} gives a session_token of {access_key_id} that is no text", cure)
    return Secret(found["secret"], token, _parse_time(found.get("expires"), name))


def _parse_time(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        cure = "write it as 2026-01-31T23:59:59Z, or as seconds since the epoch"
        raise UnreadableSecret(f"{name} gives a time of expiry that cannot be read", cure) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
