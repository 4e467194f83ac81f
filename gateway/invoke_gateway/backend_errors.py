"""Defines the errors between the gateway and its backend. The docstring of a class is its message, with the remedy."""

from __future__ import annotations

from typing import ClassVar


class BackendError(Exception):
    """The backend could not answer."""

    kind: ClassVar[str] = "fault"

    def __str__(self) -> str:
        text = " ".join((type(self).__doc__ or "").split())
        return f"{text} ({self.args[0]})" if self.args else text


class BackendUnreachable(BackendError):
    """The backend refused the connection. Check that it runs and that backend.url is right."""

    kind = "refused"


class BackendUntrusted(BackendError):
    """No trusted TLS connection to the backend. Check its certificate and backend.certificate_authority."""

    kind = "tls"


class BackendConnectTimeout(BackendError):
    """The backend did not accept a connection in time. Check the network, or raise backend.connect_timeout_seconds."""

    kind = "connect_timeout"


class BackendReset(BackendError):
    """The backend closed the connection before its response was complete. The function may have run; see its log."""

    kind = "reset"


class BackendGarbage(BackendError):
    """The backend's response is not valid HTTP/1.1. Check that backend.url speaks the Invoke API."""

    kind = "garbage"


class BackendTimeout(BackendError):
    """The backend did not finish within backend.timeout_seconds. Raise it above the function's own time-out."""

    kind = "timeout"


class BackendFirstByteTimeout(BackendError):
    """The backend sent nothing within backend.first_byte_timeout_seconds. Raise it, or leave it out, if functions take
    longer."""

    kind = "first_byte_timeout"


class BackendIdleTimeout(BackendError):
    """The backend stopped within its response for backend.idle_timeout_seconds. Raise it, or leave it out, if functions
    pause longer."""

    kind = "idle_timeout"


class NoCredentials(BackendError):
    """The gateway has no credentials with which to sign for the backend. Check backend.sign.credentials, and the
    gateway's log for the cause."""

    kind = "no_credentials"


class IdentityRefused(BackendError):
    """The backend refused the gateway's own signature or permissions. The gateway's log has the cause and the
    remedy."""

    kind = "identity_refused"


class ResponseTooLarge(BackendError):
    """The backend's response is above the response quota."""

    kind = "too_large"


KINDS = tuple(fault.kind for fault in BackendError.__subclasses__())
