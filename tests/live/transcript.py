"""Prints a transcript of real clients that call MiniStack through the gateway.

    python -m tests.live.transcript

Each line is one call, and the client's view of the response. Run `make live` once before.
"""

import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import yaml

from tests.live import servers
from tests.live.clients import (
    DEFAULT_ACCESS_KEY,
    AwsCli,
    Boto3,
    Client,
    Connect,
    JavaScript,
    NodeProcess,
    Outcome,
    event,
    event_of,
    neutral_environment,
)
from tests.live.scenario import ACCOUNTS, SMALL_ACCOUNT, create_functions, held_slot

WIDTH = 44  # of the column that says what was called
Step = tuple[str, Outcome]


def describe(outcome: Outcome) -> str:
    """Returns a user's view of the client's result, on one line."""
    if outcome.error is None:
        shown = {
            "ExecutedVersion": outcome.executed_version,
            "FunctionError": outcome.function_error,
            "payload": outcome.payload.decode()[:90] or None,
        }
    else:
        shown = {
            "Reason": outcome.reason,
            "Type": outcome.type,
            "message": outcome.message,
            "retryAfterSeconds": outcome.retry_after_seconds,
        }
    head = str(outcome.status or "") if outcome.error is None else f"{outcome.status or ''} {outcome.error}"
    return "  ".join([head.strip(), *(f"{name}={value}" for name, value in shown.items() if value is not None)])


def overlapping(
    client: Client, gateway: servers.Gateway, functions: tuple[str, str], account: str, release: Path
) -> Iterator[Step]:
    """Makes two calls; the second comes while the first is running."""
    held, other = functions
    with held_slot(client, gateway, held, release, account) as first:
        second = client.invoke(other)
    yield f"{held}, while the next one comes", first.result()
    yield f"{other}, meanwhile", second
    yield f"{other}, afterwards", client.invoke(other)


def steps(connect: Connect, gateway: servers.Gateway, scratch: Path) -> Iterator[Step]:
    """Returns the calls in the order in which a newcomer would try them."""
    client, small = connect(gateway.url), connect(gateway.url, SMALL_ACCOUNT)
    name = f"created-by-{client.name}"
    client.create(name)
    yield f"{name}, just created", client.invoke(name, event(padding="four"))
    yield f"{name}, asked to fail", client.invoke(name, event(fail="asked to fail"))
    release = scratch / f"release-{client.name}"
    yield from overlapping(client, gateway, ("checkout", "checkout"), "000000000000", release)
    small_release = scratch / f"small-release-{client.name}"
    yield from overlapping(small, gateway, ("probe", "bystander"), SMALL_ACCOUNT, small_release)
    for kind in ("RequestResponse", "Event", "DryRun"):
        yield f"closed (reservation 0), {kind}", client.invoke("closed", invocation_type=kind)
    for size in (6_291_456, 6_291_457):
        yield f"probe, {size:,} bytes", client.invoke("probe", event_of(size))
    for size in (1_048_576, 1_048_577):
        yield f"probe, Event, {size:,} bytes", client.invoke("probe", event_of(size), invocation_type="Event")
    yield 'probe, body {"half":', client.invoke("probe", b'{"half":')
    yield "nowhere, which does not exist", client.invoke("nowhere")
    yield "no such name", client.invoke("no such name")
    yield "probe:1 with qualifier 2", client.invoke("probe:1", qualifier="2")
    foreign = "arn:aws:lambda:eu-west-1:000000000000:function:probe"
    yield "probe of eu-west-1, by ARN", client.invoke(foreign)


def show(title: str, connect: Connect, gateway: servers.Gateway, scratch: Path) -> None:
    print(f"\n{title}\n{'-' * len(title)}")
    for number, (called, outcome) in enumerate(steps(connect, gateway, scratch), start=1):
        print(f"{number:>2}. {called:<{WIDTH}} {describe(outcome)}", flush=True)


def show_boto3(gateway: servers.Gateway, scratch: Path) -> None:
    made: list[Boto3] = []

    def connect(endpoint: str, access_key: str = DEFAULT_ACCESS_KEY) -> Client:
        made.append(Boto3(endpoint, access_key))
        return made[-1]

    try:
        show(f"boto3 {version('boto3')}, Python {platform.python_version()}", connect, gateway, scratch)
    finally:
        for each in made:
            each.close()


def show_cli(gateway: servers.Gateway, scratch: Path) -> None:
    def connect(endpoint: str, access_key: str = DEFAULT_ACCESS_KEY) -> Client:
        return AwsCli(endpoint, access_key, scratch)

    show(f"AWS CLI {version('awscli')} (Reason, Type and headers: --debug)", connect, gateway, scratch)


def show_javascript(gateway: servers.Gateway, scratch: Path) -> None:
    program = shutil.which("node")
    if program is None:
        print("\nNode is not installed: no transcript of the AWS SDK for JavaScript")
        return
    node = NodeProcess(program, scratch / "node.log")

    def connect(endpoint: str, access_key: str = DEFAULT_ACCESS_KEY) -> Client:
        return JavaScript(node, endpoint, access_key)

    node_version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    package = json.loads((servers.HERE / "package-lock.json").read_text())
    sdk_version = package["packages"]["node_modules/@aws-sdk/client-lambda"]["version"]
    try:
        show(f"@aws-sdk/client-lambda {sdk_version}, Node {node_version.strip()}", connect, gateway, scratch)
    finally:
        node.close()


CLIENTS: tuple[Callable[[servers.Gateway, Path], None], ...] = (show_boto3, show_cli, show_javascript)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with (
            neutral_environment(scratch),
            servers.ministack(scratch / "ministack") as backend,
            servers.gateway(scratch / "gateway", backend, accounts=ACCOUNTS) as gateway,
        ):
            print(f"invoke-gateway {version('invoke-gateway')} before MiniStack {version('ministack')}\n")
            print(yaml.safe_dump({"accounts": ACCOUNTS}, sort_keys=False), end="")
            create_functions(gateway.url)
            for show_client in CLIENTS:
                show_client(gateway, scratch)


if __name__ == "__main__":
    main()
