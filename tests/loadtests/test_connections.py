"""Many connections at once fit the machine, or the reason is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.bench import connections
from loadtests.bench.peers import PEERS
from loadtests.bench.processes import Trouble
from tests.support.tools import NGINX, WRK

NGINX_PEER = next(peer for peer in PEERS if peer.name == "nginx")


def test_enough_ports_and_files_need_one_address() -> None:
    crowd = connections.plan(10_000, ports=28_232, descriptors=100_000)
    assert (crowd.hosts, crowd.limit, crowd.listen) == (("127.0.0.1",), 10_000, "127.0.0.1")


def test_more_connections_than_ports_go_to_several_addresses() -> None:
    crowd = connections.plan(50_000, ports=28_232, descriptors=200_000)
    assert crowd.hosts == ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def test_few_files_bound_the_calls_in_flight() -> None:
    assert connections.plan(10_000, ports=28_232, descriptors=20_000).limit == 9_800


def test_too_few_files_are_a_reason() -> None:
    with pytest.raises(Trouble, match=r"more open files than the hard limit of 1024: ulimit -n, or --connections 312"):
        connections.plan(10_000, ports=28_232, descriptors=1_024)


def test_a_run_counts_calls_sockets_and_memory() -> None:
    """wrk calls nginx over two addresses, as where ports run out."""
    NGINX.require()
    WRK.require()
    crowd = connections.plan(20, ports=20, descriptors=4_096)
    assert len(crowd.hosts) == 2
    crowd = replace(crowd, hosts=crowd.hosts)
    missing = replace(NGINX_PEER, name="other", binary="no-such-program", install="from nowhere")
    row, other = connections.run([NGINX_PEER, missing], crowd, 1, 1, lambda text: None)
    (sample,) = row.samples
    assert row.problem == ""
    assert sample.answered > 0
    assert sample.refused == 0
    assert sample.broken == dict.fromkeys(connections.SOCKET_ERRORS, 0)
    assert sample.memory > 0
    assert sample.descriptors > 20, "a socket for each connection, and some for the backend"
    assert other.problem == "missing (from nowhere)"
    report = connections.report([row, other], crowd, "make bench ARGS=connections")
    assert any(line.startswith("nginx: sockets that failed: 0 connect, 0 read") for line in report.lines)
    assert report.tables[0].rows[1][-1] == "missing (from nowhere)"
