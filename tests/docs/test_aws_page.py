"""What docs/guides/aws.md says is what the code does; its settings are served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from invoke_gateway.policy.identity.request_signer import INVOKE_HEADERS
from invoke_gateway.settings import Settings
from invoke_gateway.settings.contradictions import find_contradictions
from tests.support.backends import ScriptedBackend
from tests.support.clients import call, invoke_path
from tests.support.gateways import serving
from tests.support.signatures import verify

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "aws.md").read_text()


def read_example() -> dict[str, object]:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    loaded: dict[str, object] = yaml.safe_load(example)
    return loaded


def test_its_settings_are_valid_with_and_without_sign() -> None:
    example = read_example()
    settings = Settings.model_validate(example)
    assert list(find_contradictions(settings)) == []
    assert settings.signing is not None
    backend = dict(settings.backend)
    assert Settings.model_validate({**example, "backend": {"url": backend["url"]}}).signing is not None
    assert Settings.model_validate({**example, "backend": {"url": backend["url"], "sign": False}}).signing is None


async def test_its_settings_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend is one of the test, with the Region of the page."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPAGE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    example = read_example()
    backend_of_page = example.pop("backend")
    assert isinstance(backend_of_page, dict)
    async with ScriptedBackend() as backend:
        changed = {**example, "backend": {"url": backend.url, "sign": backend_of_page["sign"]}}
        async with serving(backend.url, **changed) as gateway:
            assert (await call(gateway.listen, invoke_path("checkout"), b"{}")).status == 200
            readyz = (await call(gateway.admin, "/readyz", None, method="GET", host="localhost")).json()
        signed = verify(backend.requests[0], {"AKIAPAGE": "secret"})
    assert signed.region == example["region"]
    assert readyz["credentials"] == "present"


def test_it_lists_the_headers_that_go_on() -> None:
    listed = TEXT.partition("of the Invoke API go on:")[2].partition(". Any other")[0]
    assert {name.lower().encode() for name in re.findall(r"`([\w-]+)`", listed)} == INVOKE_HEADERS
