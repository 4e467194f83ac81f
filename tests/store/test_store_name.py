"""The name of a store: one for all gateways on it, another for every other store, and no password in it."""

from __future__ import annotations

from socket import gethostname
from urllib.parse import urlsplit

import pytest

from invoke_gateway.store.store_name import name_store

HERE = gethostname()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://10.0.0.5:6379/0", "redis://10.0.0.5:6379/0"),
        ("redis://10.0.0.5", "redis://10.0.0.5:6379/0"),
        ("redis://10.0.0.5/", "redis://10.0.0.5:6379/0"),
        ("redis://user:p%40ss@Store.example:6380/3", "redis://store.example:6380/3"),
        ("redis://:secret@store?db=2", "redis://store:6379/2"),
        ("redis://store/1?db=2", "redis://store:6379/2"),
        ("rediss://store:6380/0?ssl_ca_certs=/etc/ssl/ca.pem", "rediss://store:6380/0"),
        ("redis://[fd00::1]/0", "redis://[fd00::1]:6379/0"),
        ("redis://[fd00::1]:7000", "redis://[fd00::1]:7000/0"),
        ("redis://a:1,b:2/0", "redis://a:1,b:2/0"),
        ("redis+sentinel://me:secret@s2,s1:26380/mymaster", "redis+sentinel://s1:26380,s2:26379/mymaster/0"),
        ("rediss+sentinel://s1/a/3?sentinel_password=secret", "rediss+sentinel://s1:26379/a/3"),
        ("redis+cluster://:secret@b,a:7000", "redis+cluster://a:7000,b:6379/0"),
        ("redis://localhost:6379", f"redis://localhost:6379/0 on {HERE}"),
        ("redis://127.0.0.1/4", f"redis://127.0.0.1:6379/4 on {HERE}"),
        ("redis://[::1]", f"redis://[::1]:6379/0 on {HERE}"),
        ("unix:///run/valkey.sock", f"unix:///run/valkey.sock?db=0 on {HERE}"),
        ("unix://user:secret@/run/valkey.sock?db=1&password=x", f"unix:///run/valkey.sock?db=1 on {HERE}"),
    ],
)
def test_a_store_has_one_name_however_its_url_is_written(url: str, name: str) -> None:
    assert name_store(url) == name


def test_redis_py_connects_to_the_database_that_the_name_says() -> None:
    """Where the path and the query both have one."""
    from redis.asyncio.connection import parse_url

    for url in ("redis://store/1?db=2", "redis://store?db=2", "redis://store/5", "unix:///s?db=3", "unix:///s"):
        parts = urlsplit(name_store(url).partition(" on ")[0])
        assert int(parse_url(url).get("db", 0)) == int(parts.query.removeprefix("db=") or parts.path.strip("/"))
