"""URLs of stores, on every Python: tests/live/system_python.sh runs this on Debian's own too."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.store_url import split_hosts_url, split_store_url


def test_an_address_in_brackets_may_stand_anywhere_among_the_hosts() -> None:
    store = split_store_url("redis+sentinel://user:p%40ss@s1,[::1]:26380,s2/mymaster/3?sentinel_password=other&x=1")
    assert store.hosts == (("s1", 26379), ("::1", 26380), ("s2", 26379))
    assert (store.service, store.database, store.sentinel) == ("mymaster", "3", {"password": "other"})
    assert store.connection == "redis://user:p%40ss@s1:26379/3?x=1"


@pytest.mark.parametrize("hosts", ["[::1", "a,[::1]x:1", "a,", "a:b", "[nonsense]:0"])
def test_hosts_that_are_none_are_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_store_url(f"redis+cluster://{hosts}")


@pytest.mark.parametrize("url", ["unix:///run/v.sock", "unix:/run/v.sock"])
def test_the_path_of_a_socket_may_come_without_an_authority(url: str) -> None:
    assert (split_hosts_url(url).netloc, split_hosts_url(url).path) == ("", "/run/v.sock")
