"""What holds for every test."""

import gc
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support import forking, lateness
from tests.support.shared_collection import SharedCollection
from tests.support.sockets import Backend, backend
from tests.support.tools import pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["behind", "pytest_runtest_makereport", "pytest_terminal_summary"]

# Machines that run tests are shared: how long one example takes says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_configure(config: pytest.Config) -> None:
    lateness.is_judged = "lateness" in config.option.markexpr
    config.pluginmanager.register(SharedCollection())
    catch_ignored_signals()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keeps the collector from what lives as long as the run: modules and tests are no garbage, and the tests' own
    collections need not go through them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    forking.servers.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distributes whole files, the longest first, where `--dist loadfile` was asked for."""
    if config.option.dist != "loadfile":
        return None
    from tests.support.scheduling import LongestFirst  # here: xdist is not needed without workers

    return LongestFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.support.scheduling import sort_by_duration

        sort_by_duration(items)


def catch_ignored_signals() -> None:
    """Let the processes that tests start get the signals that this one was started to ignore.

    `nohup` ignores SIGHUP, and a shell's `&` SIGINT and SIGQUIT. A child inherits that; a handler it does not."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture
def behind() -> Iterator[Backend]:
    """A backend for gateways in processes of their own; what it does, it is told by functions' names."""
    with backend() as started:
        yield started
