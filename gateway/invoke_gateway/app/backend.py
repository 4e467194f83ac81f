"""Makes the last stage of the chain, and the connections to the backend behind it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from ..buffers import Buffers
from ..policy.events.function_errors import FunctionErrors
from ..settings import Settings
from ..upstream.forward import Forward, ResponseQuotas
from ..upstream.pool import Pool
from ..write_batcher import WriteBatcher


def make_pool(settings: Settings, backend_url: str, buffers: Buffers, write_batcher: WriteBatcher) -> Pool:
    """Makes the pool of connections to `backend_url`, with TLS if its scheme is https."""
    url = urlsplit(backend_url)
    backend = settings.backend
    tls = None
    if url.scheme == "https":
        authority = backend.certificate_authority
        tls = ssl.create_default_context(cafile=str(authority) if authority else None)
    return Pool(
        url.hostname or "127.0.0.1",
        url.port or (443 if tls else 80),
        buffers=buffers,
        write_batcher=write_batcher,
        tls=tls,
        timeout_seconds=backend.timeout_seconds,
        connect_timeout_seconds=backend.connect_timeout_seconds,
        first_byte_timeout_seconds=backend.first_byte_timeout_seconds,
        idle_timeout_seconds=backend.idle_timeout_seconds,
        keep_alive_seconds=backend.keep_alive_seconds,
    )


def make_function_errors(settings: Settings) -> FunctionErrors:
    """Makes the rule by which a response reports an error of its function."""
    backend = settings.backend
    return FunctionErrors(backend.function_errors, has_function_path=backend.function_path is not None)


def make_forward(
    settings: Settings,
    backend_url: str,
    pool: Pool,
    buffers: Buffers,
    quotas: Callable[[], ResponseQuotas],
    function_errors: FunctionErrors,
) -> Forward:
    """Makes the stage that forwards a request to the backend."""
    own_host = urlsplit(backend_url).netloc
    return Forward(
        pool,
        buffers=buffers,
        quotas=quotas,
        region=settings.region,
        own_host=own_host,
        host=own_host if settings.backend.host_header == "backend" or settings.signing is not None else None,
        function_path=settings.backend.function_path,
        takes_messages=True if settings.signing is not None else None,  # the stage that signs writes them
        function_errors=function_errors if function_errors.reads_every_body else None,
    )
