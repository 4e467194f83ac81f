"""Composes the signing of requests to the backend, and its null twin."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from ..asgi import App
from ..aws.credential_keeper import CredentialKeeper
from ..aws.credential_sources import make_source
from ..background import BackgroundTasks
from ..buffers import Buffers
from ..policy.identity.request_signer import RequestSigner
from ..settings import Settings
from ..telemetry.totals import Totals
from ..upstream.signing import SignRequests


class BackendSigning:
    """Signs requests with credentials that are renewed in the background.

    keeper: the credentials
    totals: count what the keeper counts
    """

    def __init__(self, settings: Settings, backend_url: str, tasks: BackgroundTasks, totals: Totals) -> None:
        signing = settings.signing
        assert signing is not None  # the caller has looked
        region = signing.region or settings.region
        host = urlsplit(backend_url).netloc.encode("ascii")
        self.keeper = CredentialKeeper(
            make_source(signing.credentials),
            partial(RequestSigner, host=host, region=region, service=signing.service),
            tasks=tasks,
            where=signing.credentials,
        )
        # One count for both: the totals of workers are summed.
        totals.credential_loads, totals.identity_refusals = self.keeper.loads, self.keeper.refusals
        self.start = self.keeper.start
        self.close = self.keeper.close

    def wrap(self, app: App, buffers: Buffers) -> App:
        """Returns the stage that signs before `app` sends."""
        return SignRequests(app, signers=self.keeper, buffers=buffers)


class NoSigning:
    """Does nothing: requests are forwarded as their clients signed them."""

    keeper = None

    def wrap(self, app: App, buffers: Buffers) -> App:
        """Returns `app`."""
        return app

    async def start(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""


def make_signing(
    settings: Settings, backend_url: str, tasks: BackgroundTasks, totals: Totals
) -> BackendSigning | NoSigning:
    """Makes the signing, or its null twin."""
    return NoSigning() if settings.signing is None else BackendSigning(settings, backend_url, tasks, totals)
