"""What the options of a connection are read with."""

from __future__ import annotations

import importlib.metadata

import pytest

from invoke_gateway.store.connection_options import read_options

URLS = (
    "redis://user:secret@127.0.0.1:6380/3",
    "rediss://127.0.0.1:6380/3",
    "unix:///run/store.sock?db=3",
)


@pytest.mark.parametrize("url", URLS)
def test_the_options_of_a_connection_are_read_without_the_metadata_of_a_package(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: pytest.fail(f"the metadata of {name} was read"))
    assert read_options(url).database == 3
