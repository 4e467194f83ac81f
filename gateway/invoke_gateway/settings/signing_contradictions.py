"""Finds values of `backend.sign` that contradict other keys."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from invoke_gateway.policy.identity.aws_host import find_lambda_region
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import Path
from invoke_gateway.settings.problems import Finding

_URL: Path = ("backend", "url")
_REGION: Path = ("region",)


def find_signing_contradictions(settings: Settings) -> Iterator[Finding]:
    """Finds a Region that is not that of the URL or of the functions, and a backend that gets no signature."""
    signing = settings.signing
    url = urlsplit(settings.backend.url)
    host, region = url.hostname or "", settings.region
    of_url = find_lambda_region(host)
    if of_url is not None and of_url != region:
        message = f"is {region}, and backend.url is AWS Lambda's of {of_url}"
        yield Finding("region", message, f"set region to {of_url}, or correct backend.url", (_REGION, _URL))
    if signing is None:
        return
    if signing.region is not None and signing.region != region:
        needs: tuple[Path, ...] = (("backend", "sign", "region"), _REGION)
        message = f"is {signing.region}, and region is {region}"
        yield Finding("backend.sign.region", message, "give both the Region of the functions", needs)
    if of_url is not None and url.scheme == "http":
        yield Finding("backend.url", f"is http, and AWS Lambda only serves https: {host}", f"write https://{host}")
    if settings.backend.function_path is not None:
        message = f"is {settings.backend.function_path}, which changes the path that backend.sign signs"
        cure = "leave one of the two out: runtimes that need function_path verify no signature"
        yield Finding("backend.function_path", message, cure, (("backend", "function_path"), ("backend", "sign")))
