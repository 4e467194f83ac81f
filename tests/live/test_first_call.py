"""A gateway that is started as the README says serves a call of the standard library's client.

tests/live/system_python.sh runs this on the system's own Python.
"""

from __future__ import annotations

import platform
import urllib.request
from pathlib import Path

from tests.live import servers


def test_a_gateway_starts_serves_a_call_and_stops(tmp_path: Path) -> None:
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with servers.gateway(tmp_path, "demo") as gateway:
        url = f"{gateway.url}/2015-03-31/functions/echo/invocations"
        with directly.open(url, data=b'{"hello": "world"}', timeout=60) as response:
            assert (response.status, response.read()) == (200, b'{"hello": "world"}')
        print(f"Python {platform.python_version()}: the gateway has served a call")
        assert gateway.process.stop() == 0
