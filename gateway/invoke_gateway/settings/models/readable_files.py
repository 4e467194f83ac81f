"""Checks the names of the files that settings name, and the files that are read."""

import ssl
from pathlib import Path

from invoke_gateway.secret_source import SecretUnavailable, read_token
from invoke_gateway.settings.descriptions import invalid_value

_WORDS_OF_A_SWITCH = frozenset({"true", "yes", "on", "1", "false", "no", "off", "0"})


def read_file_name(name: str) -> str:
    """Accepts the name of a file that can be opened for reading."""
    try:
        with Path(name).open("rb"):
            return name
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid_value(f"cannot read {name!r}: {reason}", "give a file that the gateway may read") from None


def read_token_source(source: object) -> object:
    """Accepts the place of a bearer token that can be read. The token itself is not kept, and no text repeats it."""
    try:
        read_token(source if isinstance(source, str) else "")
    except SecretUnavailable as error:
        raise invalid_value(error.problem, error.cure) from None
    return source


def read_log_file_name(name: str) -> str:
    """Accepts the name of a log file, or `-`. Refuses the words of a switch, which this setting once was, and a flag
    that stands where the name is missing."""
    if name.lower() in _WORDS_OF_A_SWITCH:
        cure = "give - for standard output or the name of a file, or leave it out for no access log"
        raise invalid_value(f"is {name!r}, but it is no longer a switch", cure)
    if not name or name.startswith("--") or "\0" in name:
        raise invalid_value(f"is {name!r}, which is not the name of a file", "give the name of a file, or -")
    return name


def find_certificate_mistake(certificate: str, key: str) -> str | None:
    """Returns the reason why the two PEM files cannot serve TLS, None where they can."""

    def no_passphrase() -> str:
        raise PermissionError("the key is protected by a passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_passphrase)
    except (OSError, ValueError) as error:
        return f"certificate and key cannot be used: {getattr(error, 'reason', None) or error}"
    return None


def read_authority_file(name: str) -> str:
    """Accepts the name of a PEM file of certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(read_file_name(name))
    except OSError:
        raise invalid_value(f"{name!r} holds no PEM certificate", "give the authorities' certificates as PEM") from None
    return name
