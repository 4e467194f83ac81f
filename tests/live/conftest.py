"""Provides the fixtures of the live tests: real servers, started once, and real clients before them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import fetch_rie, servers
from tests.live.clients import (
    DEFAULT_ACCESS_KEY,
    AwsCli,
    Boto3,
    Client,
    Connect,
    JavaScript,
    NodeProcess,
    neutral_environment,
)
from tests.live.scenario import ACCOUNTS, SMALL_ACCOUNT, create_functions
from tests.support.tools import EMULATOR, NEWER_NODE, NODE, NPM

CLIENTS = ("boto3", "cli", "javascript")
OLDEST_NODE = 20  # of the SDK, by its package.json
HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _neutral_aws_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with neutral_environment(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the servers' files and logs."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="session")
def ministack(folder: Path) -> Iterator[str]:
    with servers.ministack(folder / "ministack", "cloudformation") as url:
        yield url


@pytest.fixture(scope="session")
def moto(folder: Path) -> Iterator[str]:
    with servers.moto(folder / "moto") as url:
        yield url


@pytest.fixture(scope="session")
def gateway(folder: Path, ministack: str) -> Iterator[servers.Gateway]:
    """The gateway of most tests: before MiniStack, with two accounts and a few reservations."""
    with servers.gateway(folder / "gateway", ministack, accounts=ACCOUNTS) as started:
        create_functions(started.url)
        yield started


@pytest.fixture(scope="session")
def demo_gateway(folder: Path) -> Iterator[servers.Gateway]:
    """A gateway before its embedded demo functions."""
    with servers.gateway(folder / "demo", "demo") as started:
        yield started


@pytest.fixture(scope="session")
def observed_gateway(folder: Path, ministack: str) -> Iterator[servers.Gateway]:
    """A gateway that names an oversized payload as AWS has been seen to, not as its model says."""
    flags = ("--payload-error", "as_observed")
    with servers.gateway(folder / "observed", ministack, *flags) as started:
        yield started


@pytest.fixture(scope="session")
def emulator(folder: Path) -> Iterator[servers.RuntimeInterfaceEmulator]:
    if fetch_rie.build() is None:
        EMULATOR.skip()
    if not servers.RIE_BINARY.exists():
        pytest.fail("the Runtime Interface Emulator is not there: `make live` fetches it")
    with servers.runtime_interface_emulator(folder / "rie") as started:
        yield started


@pytest.fixture(scope="session")
def one_at_a_time(folder: Path, emulator: servers.RuntimeInterfaceEmulator) -> Iterator[servers.Gateway]:
    """A gateway with one slot before the Runtime Interface Emulator, which breaks on two calls at once."""
    limits = ("--concurrent-executions", "1", "--requests-per-second", "off")
    path = ("--backend-function-path", "function")
    with servers.gateway(folder / "one", emulator.url, *limits, *path) as started:
        yield started


@pytest.fixture(scope="session")
def node(folder: Path) -> Iterator[NodeProcess]:
    program = NODE.require()
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        NEWER_NODE.skip()
    if not (HERE / "node_modules" / "@aws-sdk").is_dir():
        NPM.require()
        pytest.fail("the AWS SDK for JavaScript is not there: `make live` installs it, with npm")
    process = NodeProcess(program, folder / "node.log")
    yield process
    process.close()


@pytest.fixture
def boto3_client() -> Iterator[Callable[..., Boto3]]:
    """Makes boto3 clients that are closed when the test ends."""
    made: list[Boto3] = []

    def connect(*arguments: Any, **options: Any) -> Boto3:
        made.append(Boto3(*arguments, **options))
        return made[-1]

    yield connect
    for each in made:
        each.close()


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest, boto3_client: Callable[..., Boto3], tmp_path: Path) -> Connect:
    """Makes clients of one kind for an endpoint; a test that asks for it runs once with each kind."""
    if request.param == "boto3":
        return boto3_client
    if request.param == "cli":
        return lambda endpoint, access_key=DEFAULT_ACCESS_KEY: AwsCli(endpoint, access_key, tmp_path)
    node: NodeProcess = request.getfixturevalue("node")
    return lambda endpoint, access_key=DEFAULT_ACCESS_KEY: JavaScript(node, endpoint, access_key)


@pytest.fixture
def client(connect: Connect, gateway: servers.Gateway) -> Client:
    """A client of the gateway, of each kind in turn."""
    return connect(gateway.url)


@pytest.fixture
def small_client(connect: Connect, gateway: servers.Gateway) -> Client:
    """A client of the account that has a single slot."""
    return connect(gateway.url, SMALL_ACCOUNT)
