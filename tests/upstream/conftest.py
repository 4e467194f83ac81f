"""The pair of a scripted backend and a gateway, for every module here."""

from tests.support.pair import backend, gateway, pair, pytest_asyncio_loop_factories

__all__ = ["backend", "gateway", "pair", "pytest_asyncio_loop_factories"]
