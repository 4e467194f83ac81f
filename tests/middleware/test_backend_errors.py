"""What goes wrong inside becomes an error in Lambda's shape, and a log line that tells nothing of the request."""

from __future__ import annotations

import logging

import pytest

from invoke_gateway.backend_errors import BackendReset, BackendTimeout
from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.error_response import ErrorResponse
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import Inside, drive, make_exchange
from tests.support.sockets import gateway, invoke, refusal_of


def failing(error: BaseException, status: int = 0) -> Inside:
    def fail(exchange: Exchange) -> None:
        exchange.status = status
        raise error

    return Inside(fail)


async def test_a_fault_of_the_backend_is_refused_with_its_own_text_and_kind() -> None:
    driven = await drive(ErrorResponse(failing(BackendTimeout())))
    assert driven.exchange.refusal is Refusal.BACKEND_ERROR
    assert driven.exchange.refusal_values == {"text": str(BackendTimeout())}
    assert driven.exchange.error_kind == "timeout"


async def test_a_response_that_is_under_way_can_only_be_cut() -> None:
    for error in (BackendReset(), RuntimeError()):
        driven = await drive(ErrorResponse(failing(error, status=200)))
        assert driven.exchange.refusal is None
        assert driven.exchange.error_kind is not None


async def test_a_surprise_is_an_internal_error_that_the_log_explains(caplog: pytest.LogCaptureFixture) -> None:
    """Under the request's id."""
    exchange = make_exchange()
    driven = await drive(ErrorResponse(failing(RuntimeError("surprise"))), exchange)
    assert driven.exchange.refusal is Refusal.INTERNAL
    (record,) = caplog.records
    assert record.getMessage() == f"request {exchange.request_id} failed inside the gateway"
    assert record.exc_info is not None


async def test_what_ends_the_process_is_passed_on() -> None:
    for error in (KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            await drive(ErrorResponse(failing(error)))


async def test_without_a_fault_nothing_is_noted() -> None:
    driven = await drive(ErrorResponse(Inside()))
    assert (driven.exchange.refusal, driven.exchange.error_kind) == (None, None)


def test_a_client_gets_a_service_exception_for_a_surprise_and_the_log_keeps_its_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway goes on with the next request."""
    with gateway(access_log="-") as served, caplog.at_level(logging.INFO):
        counters = served.server.gateway.counters
        with monkeypatch.context() as patch:
            patch.setattr(counters, "check", lambda plan: 1 / 0)
            request = invoke("echo", b'{"password": "hunter2"}', "Authorization: Credential=AKIASECRET/x")
            answer = served.send(request)
        assert refusal_of(answer) == (
            500,
            "ServiceException",
            "The gateway failed on this request. Its log has the details under this request id.",
        )
        assert answer.json["Type"] == "Service"
        assert int(answer.header("retry-after") or 0) >= 1
        assert int(answer.header("x-amz-retry-after") or 0) >= 1
        assert served.send(invoke()).status == 200
    logged = caplog.text
    assert f"request {answer.header('x-amzn-requestid')} failed inside the gateway" in logged
    assert "ZeroDivisionError" in logged
    assert not [secret for secret in ("hunter2", "AKIASECRET", "Credential") if secret in logged]
