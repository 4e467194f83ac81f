"""Reads the `process_*` metrics, which every Prometheus client has, from the operating system."""

from __future__ import annotations

from prometheus_client.process_collector import ProcessCollector

from .exposition import Family

_COLLECTOR = ProcessCollector(registry=None)


def read_process() -> list[Family]:
    """Reads CPU time, memory, start, open and permitted file descriptors; nothing where there is no /proc.

    Runs in a thread: counting 20,000 open files takes 19 ms.
    """
    return [
        Family(
            metric.name,
            "counter" if metric.type == "counter" else "gauge",
            metric.documentation,
            (),
            [((), sample.value) for sample in metric.samples],
        )
        for metric in _COLLECTOR.collect()
    ]
