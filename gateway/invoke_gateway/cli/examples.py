"""Holds the examples at the end of each command's help."""

from __future__ import annotations

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "serve": (
        "invoke-gateway serve --backend demo --concurrent-executions 10 --reserve sleep=2",
        "invoke-gateway serve --backend http://127.0.0.1:4566 --concurrent-executions 10",
        "invoke-gateway serve --config gateway.yaml --watch",
        "invoke-gateway serve --config gateway.yaml --counters redis://10.0.0.5:6379/0 --workers 4",
    ),
    "check": (
        "invoke-gateway check gateway.yaml",
        "invoke-gateway check --env gateway.yaml",
        "invoke-gateway check --format json gateway.yaml > report.json",
    ),
    "schema": ("invoke-gateway schema > settings.schema.json",),
    "status": (
        "invoke-gateway status",
        "invoke-gateway status --watch",
        "invoke-gateway status --json --admin 10.0.0.7:9002",
    ),
    "limits": (
        "invoke-gateway limits",
        "invoke-gateway limits --once",
        "invoke-gateway limits --json --admin 10.0.0.7:9002",
    ),
    "may": (
        "invoke-gateway may AKIAIOSFODNN7EXAMPLE checkout:prod --config gateway.yaml",
        "invoke-gateway may arn:aws:iam::111122223333:user/alice checkout --source-ip 192.0.2.7 --config gateway.yaml",
        "invoke-gateway may AKIAIOSFODNN7EXAMPLE checkout --operation PutFunctionConcurrency --admin 127.0.0.1:9002",
    ),
    "control": ("invoke-gateway control export", "invoke-gateway control reset checkout"),
    "control export": (
        "invoke-gateway control export > control.yaml",
        "invoke-gateway control export --json > control.json",
    ),
    "control import": ("invoke-gateway control import control.json",),
    "control reset": (
        "invoke-gateway control reset checkout",
        "invoke-gateway control reset checkout --account 111122223333",
    ),
    "hold": (
        "invoke-gateway hold checkout --slots 2",
        "invoke-gateway hold --slots 8 --seconds 120",
        "invoke-gateway hold checkout --slots 2 --detach",
    ),
    "release": ("invoke-gateway release h-4f1c2a9b3d5e",),
    "fault": (
        'invoke-gateway fault checkout "throttle 3"',
        'invoke-gateway fault checkout "pass 2" "error EC2ThrottledException repeat 3" "latency 2" "cut 40960"',
        'invoke-gateway fault checkout "error TooManyRequestsException CallerRateLimitExceeded probability 0.5"',
        "invoke-gateway fault '*' --file script.yaml",
        "invoke-gateway fault --list",
        "invoke-gateway fault --end all",
    ),
    "in-flight": (
        "invoke-gateway in-flight",
        "invoke-gateway in-flight checkout",
        "invoke-gateway in-flight release --gateway g-7f3a2b1c",
    ),
    "in-flight list": (
        "invoke-gateway in-flight list checkout --most 10",
        "invoke-gateway in-flight list --account 111122223333 --json",
    ),
    "in-flight release": (
        "invoke-gateway in-flight release --gateway g-7f3a2b1c",
        "invoke-gateway in-flight release --gateway g-7f3a2b1c.2",
    ),
    "queue": (
        "invoke-gateway queue",
        "invoke-gateway queue --watch",
        "invoke-gateway queue list report --state undelivered",
        "invoke-gateway queue history --failed",
        "invoke-gateway queue show 7e0f1c52-3a4b-4c5d-8e6f-123456789abc",
    ),
    "queue list": (
        "invoke-gateway queue list",
        "invoke-gateway queue list report --state retrying --most 50",
    ),
    "queue history": (
        "invoke-gateway queue history",
        "invoke-gateway queue history report --failed --most 20",
    ),
    "queue show": (
        "invoke-gateway queue show 7e0f1c52-3a4b-4c5d-8e6f-123456789abc",
        "invoke-gateway queue show 7e0f1c52-3a4b-4c5d-8e6f-123456789abc --payload",
    ),
    "queue retry": ("invoke-gateway queue retry 7e0f1c52-3a4b-4c5d-8e6f-123456789abc",),
    "queue drop": (
        "invoke-gateway queue drop 7e0f1c52-3a4b-4c5d-8e6f-123456789abc --yes",
        "invoke-gateway queue drop --held",
    ),
    "queue adopt": (
        "invoke-gateway queue adopt",
        "invoke-gateway queue adopt http://127.0.0.1:4566",
    ),
    "prove": (
        "invoke-gateway prove --seeds 5 --minutes 2",
        "# Several gateways that are killed, stopped and cut off, while their store is restarted and emptied:",
        "invoke-gateway prove --gateways 3 --redis spawn",
        "# Asynchronous invocations, while the gateway that stores them is killed again and again:",
        "invoke-gateway prove --events 10000 --fault-count 5",
        "# A gateway of your own, with request rates off, no other clients, and the backend of `prove` behind it:",
        "invoke-gateway serve --backend http://127.0.0.1:9009 --concurrent-executions 20 --requests-per-second off &",
        "invoke-gateway prove --backend-listen 127.0.0.1:9009 --gateway http://127.0.0.1:9001 --admin 127.0.0.1:9002",
    ),
}
"""The examples of each command, by its words. A line with # explains the next one."""


def add_examples(words: str, command: click.Command) -> None:
    """Puts the examples of a command, and of the commands of its group, at the end of their help."""
    lines = EXAMPLES.get(words)
    if lines:
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            add_examples(f"{words} {name}", inner)
