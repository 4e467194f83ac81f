"""Credentials while a gateway runs: kept, renewed, and used until they expire."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest

from invoke_gateway.aws import credential_keeper
from invoke_gateway.aws.credential_keeper import CREDENTIALS_CAUSE, CredentialKeeper
from invoke_gateway.aws.credential_sources import CannotLoad
from invoke_gateway.backend_errors import NoCredentials
from invoke_gateway.background import BackgroundTasks
from invoke_gateway.policy.identity.request_signer import RequestSigner, SigningCredentials
from invoke_gateway.policy.identity.signature_refusals import IdentityRefusal
from tests.support.gateways import eventually

NOW = 1_000_000.0


class Source:
    """Provides what the test puts here.

    loaded: the credentials, or the reason why there are none
    """

    def __init__(self, loaded: SigningCredentials | str) -> None:
        self.loaded = loaded
        self.loads = 0
        self.forgotten = 0

    def load(self) -> SigningCredentials:
        self.loads += 1
        if isinstance(self.loaded, str):
            raise CannotLoad(self.loaded)
        return self.loaded

    def forget(self) -> None:
        self.forgotten += 1


def make_keeper(source: Source, tasks: BackgroundTasks | None = None) -> CredentialKeeper:
    signer = partial(RequestSigner, host=b"h", region="us-east-1")
    return CredentialKeeper(source, signer, tasks=tasks or BackgroundTasks(), now=lambda: NOW)


def key_of(keeper: CredentialKeeper, now: float = NOW) -> str:
    return keeper.find(now).credentials.access_key_id


async def test_without_credentials_no_request_is_signed(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks()
    keeper = make_keeper(Source("there are none"), tasks)
    await keeper.load()
    with pytest.raises(NoCredentials):
        keeper.find(NOW)
    assert tasks.degraded[CREDENTIALS_CAUSE]
    assert keeper.describe() == {"credentials": "missing", "credentials_error": "there are none"}
    await keeper.load()
    assert caplog.text.count("there are none; calls are refused") == 1
    assert keeper.loads == {"loaded": 0, "failed": 2}


async def test_the_last_ones_are_used_until_they_expire() -> None:
    tasks = BackgroundTasks()
    source = Source(SigningCredentials("A", "s", "t", NOW + 600))
    keeper = make_keeper(source, tasks)
    await keeper.load()
    assert keeper.describe() == {"credentials": "present", "credentials_expire_in_seconds": 600}
    source.loaded = "the service is down"
    await keeper.load()
    assert key_of(keeper, NOW + 599) == "A"
    with pytest.raises(NoCredentials):
        keeper.find(NOW + 600)
    assert not tasks.degraded[CREDENTIALS_CAUSE]
    source.loaded = SigningCredentials("B", "s", "t", NOW + 3600)
    await keeper.load()
    assert key_of(keeper, NOW + 600) == "B"
    assert "credentials_error" not in keeper.describe()


async def test_credentials_that_expire_within_five_minutes_are_a_degradation() -> None:
    tasks = BackgroundTasks()
    keeper = make_keeper(Source(SigningCredentials("A", "s", "t", NOW + 299)), tasks)
    await keeper.load()
    assert tasks.degraded[CREDENTIALS_CAUSE]
    assert keeper.describe()["credentials"] == "expiring"
    assert keeper.remaining_seconds == 299


async def test_a_signer_is_kept_with_its_key_while_the_credentials_stay() -> None:
    source = Source(SigningCredentials("A", "s"))
    keeper = make_keeper(source)
    await keeper.load()
    first = keeper.find(NOW)
    source.loaded = SigningCredentials("A", "s", None, NOW + 900)
    await keeper.load()
    assert keeper.find(NOW) is first


async def test_a_refused_signature_has_them_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_keeper, "_SOONEST_SECONDS", 0.0)
    tasks = BackgroundTasks()
    source = Source(SigningCredentials("OLD", "s"))
    keeper = make_keeper(source, tasks)
    await keeper.start()
    try:
        source.loaded = SigningCredentials("NEW", "s")
        keeper.record_refusal(IdentityRefusal(403, "UnrecognizedClientException", "invalid", is_signature=True))
        assert tasks.degraded[CREDENTIALS_CAUSE]
        await eventually(lambda: key_of(keeper) == "NEW", "new credentials")
        assert source.forgotten == 1
        keeper.record_success()
        assert not tasks.degraded[CREDENTIALS_CAUSE]
    finally:
        await keeper.close()


async def test_a_refused_permission_changes_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(SigningCredentials("A", "s"))
    keeper = make_keeper(source)
    await keeper.load()
    for _ in range(3):
        keeper.record_refusal(IdentityRefusal(403, "AccessDeniedException", "User: x", is_signature=False))
    assert (source.forgotten, keeper.is_refused) == (0, False)
    assert keeper.refusals == {"AccessDeniedException": 3}
    assert caplog.text.count("Allow the gateway's role the operation") == 1


@pytest.mark.parametrize(("skew", "text"), [(420.0, "420 s behind"), (-600.0, "600 s ahead of")])
async def test_the_log_names_a_skew_of_the_clock(caplog: pytest.LogCaptureFixture, skew: float, text: str) -> None:
    keeper = make_keeper(Source(SigningCredentials("A", "s")))
    await keeper.load()
    refusal = IdentityRefusal(403, "InvalidSignatureException", "Signature expired", True, skew)
    with caplog.at_level(logging.ERROR):
        keeper.record_refusal(refusal)
    assert f"The gateway's clock is {text} the backend's: synchronize it (NTP)" in caplog.text


async def test_a_start_does_not_wait_for_a_source_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_keeper, "FIRST_LOAD_SECONDS", 0.01)
    may_end = asyncio.Event()
    keeper = make_keeper(Source(SigningCredentials("A", "s")))
    monkeypatch.setattr(keeper, "load", may_end.wait)
    await keeper.start()
    with pytest.raises(NoCredentials):
        keeper.find(NOW)
    may_end.set()
    await keeper.close()
