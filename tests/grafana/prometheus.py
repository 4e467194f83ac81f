"""A real Prometheus on a free port, which scrapes what it is given by the configuration in grafana/."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import processes

from .expressions import ROOT, Expression

START_SECONDS = 60.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._started = time.time()

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of the HTTP API. AssertionError with Prometheus' own words where it is asked nonsense;
        HTTPError while it cannot answer yet."""
        query = urllib.parse.urlencode(parameters)
        try:
            with _DIRECTLY.open(f"{self.url}/api/v1/{path}?{query}", timeout=60) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise
            raise AssertionError(f"{error.code} to {parameters}: {error.read().decode()}") from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def run(self, expression: Expression) -> list[Any]:
        """The series, or the label's values, that it returns now, or since the start. Values that are no numbers are
        left out, and series that have no others."""
        if expression.kind == "label":
            values: list[Any] = self.ask(f"label/{expression.label}/values", **{"match[]": expression.text})
            return values
        if expression.kind == "instant":
            found = self.ask("query", query=expression.text)["result"]
            return [series for series in found if series["value"][1] != "NaN"]
        now = time.time()
        over = {"start": f"{self._started}", "end": f"{now}", "step": "1"}
        found = self.ask("query_range", query=expression.text, **over)["result"]
        return [series for series in found if any(value != "NaN" for _, value in series["values"])]


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], **more: Any) -> Iterator[Prometheus]:
    """Prometheus for the length of the block: grafana/prometheus.yml with these targets and every interval a second.
    `more`: further keys of the job."""
    document = yaml.safe_load((ROOT / "grafana" / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document["rule_files"] = [str(ROOT / "grafana" / name) for name in document["rule_files"]]
    del document["alerting"]
    (job,) = document["scrape_configs"]
    job |= {"static_configs": [{"targets": list(targets)}], **more}
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(document))
    port = processes.free_port()
    arguments = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    environment = processes.bare_environment(folder)
    with processes.running(arguments, folder / "prometheus.log", environment, folder) as process:
        started = Prometheus(port)
        process.wait_until(lambda: started.ask("query", query="1"), "Prometheus answers", START_SECONDS)
        yield started
