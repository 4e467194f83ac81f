"""Lists the metrics of the credentials with which the gateway signs for the backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .exposition import Family, counter, gauge
from .totals import Totals


class SigningState(Protocol):
    """Reads the state of the credentials."""

    @property
    def remaining_seconds(self) -> float | None: ...


def list_credentials(totals: Totals, state: SigningState | None) -> Iterator[Family]:
    """Lists the metrics; without samples where the gateway does not sign."""
    remaining = state.remaining_seconds if state is not None else None
    yield gauge(
        "backend_credentials_remaining_seconds",
        "Seconds until the credentials that sign for the backend expire; no sample where they do not.",
        (),
        [] if remaining is None else [((), remaining)],
    )
    yield counter(
        "backend_credential_loads",
        "Attempts to load the credentials that sign for the backend, by result: loaded or failed.",
        ("result",),
        [((result,), count) for result, count in totals.credential_loads.items()],
    )
    yield counter(
        "backend_identity_refusals",
        "Requests of which the backend refused the gateway's own signature or permissions, by error code.",
        ("error",),
        [((code,), count) for code, count in list(totals.identity_refusals.items())],
    )
