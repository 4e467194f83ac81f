"""Tests of the support for real processes: a port is nobody else's."""

from __future__ import annotations

import socket

import pytest

from tests.support import processes
from tests.support.processes import LOOPBACK, free_port


def test_no_port_is_returned_twice_or_while_something_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_taken", set())
    few = range(20_000, 20_000 + 400)
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        ports = [free_port(few) for _ in range(20)]
        assert len(set(ports)) == 20
        with pytest.raises(RuntimeError, match="no free port"):
            free_port(range(taken, taken + 1))


def test_workers_of_one_run_share_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_taken", set())
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    ports = {}
    for worker in range(4):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        ports[worker] = {free_port() % 4 for _ in range(10)}
    assert [len(residues) for residues in ports.values()] == [1, 1, 1, 1]
    assert len(set().union(*ports.values())) == 4
