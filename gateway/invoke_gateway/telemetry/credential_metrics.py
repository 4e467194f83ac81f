"""Lists the metrics of the credentials with which the gateway signs for the backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from .exposition import Family, counter, gauge


class SigningState(Protocol):
    """Reads the state of the credentials. They are read by attribute at each scrape."""

    loads: dict[str, int]
    refusals: dict[str, int]

    @property
    def remaining_seconds(self) -> float | None: ...

    def describe(self) -> Mapping[str, object]: ...


def list_credentials(state: SigningState | None) -> Iterator[Family]:
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
        [] if state is None else [((result,), count) for result, count in state.loads.items()],
    )
    yield counter(
        "backend_identity_refusals",
        "Requests of which the backend refused the gateway's own signature or permissions, by error code.",
        ("error",),
        [] if state is None else [((code,), count) for code, count in list(state.refusals.items())],
    )
