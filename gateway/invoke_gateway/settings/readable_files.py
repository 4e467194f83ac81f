"""Checks the files that settings name."""

import ssl
from pathlib import Path

from invoke_gateway.settings.descriptions import invalid_value


def read_file_name(name: str) -> str:
    """Accepts the name of a file that can be opened for reading."""
    try:
        with Path(name).open("rb"):
            return name
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid_value(f"cannot read {name!r}: {reason}", "give a file that the gateway may read") from None


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
