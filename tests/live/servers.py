"""Starts the real servers: MiniStack, AWS's Runtime Interface Emulator, and the gateway in front of them."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from tests.support.processes import (
    LOOPBACK,
    RunningProcess,
    bare_environment,
    fetch_json,
    free_port,
    listens,
    running,
)

HERE = Path(__file__).parent
RIE_BINARY = HERE.parent.parent / ".cache" / "rie" / "aws-lambda-rie"
PROGRAMS = Path(sys.executable).parent  # of this Python environment


class Gateway:
    """Holds a running gateway, and reads its admin listener."""

    def __init__(self, url: str, admin: str, process: RunningProcess) -> None:
        self.url = url
        self.admin = admin
        self.process = process

    def __repr__(self) -> str:
        return f"<Gateway {self.url} {self.process!r}>"

    def account(self, account: str) -> dict[str, Any]:
        """Returns one account's part of /limits; an account without calls or settings of its own has none."""
        answer = fetch_json(f"{self.admin}/limits")
        return next(each for each in answer["accounts"] if each["account"] == account)

    def in_flight(self, account: str) -> int:
        """Returns the calls that hold a slot of the account now."""
        return int(self.account(account)["in_flight"])

    def function(self, account: str, function: str) -> dict[str, Any]:
        """Returns one function's part of its account; functions with a reservation are always listed."""
        return next(each for each in self.account(account)["functions"] if each["function"] == function)


@contextmanager
def gateway(directory: Path, backend: str, *flags: str, **settings: Any) -> Iterator[Gateway]:
    """Runs a gateway before `backend` (a URL, or `demo`): `settings` in a file, `flags` on the command line."""
    directory.mkdir(exist_ok=True)
    listen, admin = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    command = [str(PROGRAMS / "invoke-gateway"), "serve", "--backend", backend, *flags]
    command += ["--listen", listen, "--admin", admin]
    if settings:
        file = directory / "gateway.yaml"
        file.write_text(yaml.safe_dump(settings))
        command += ["--config", str(file)]
    with running(command, directory / "gateway.log", bare_environment(directory), directory) as process:
        started = Gateway(f"http://{listen}", f"http://{admin}", process)
        process.wait_until(lambda: fetch_json(f"{started.admin}/readyz"), "the gateway is ready")
        yield started


@contextmanager
def ministack(directory: Path, *services: str) -> Iterator[str]:
    """Returns the URL of a MiniStack that listens on loopback only and keeps its files in `directory`. It has Lambda,
    and the services named."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    environment = bare_environment(directory) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,  # without it: all addresses
        "LAMBDA_EXECUTOR": "local",  # Python functions as plain processes, no Docker
        "SERVICES": ",".join(("lambda", *services)),
        "SFTP_ENABLED": "0",  # these two would be listeners of their own
        "IOT_MTLS_ENABLED": "0",
        "STATE_DIR": str(directory / "state"),
        "S3_DATA_DIR": str(directory / "s3"),
    }
    log = directory / "ministack.log"
    url = f"http://{LOOPBACK}:{port}"
    with running([str(PROGRAMS / "ministack")], log, environment, directory) as process:
        process.wait_until(lambda: fetch_json(f"{url}/_ministack/health"), "MiniStack is healthy", timeout=30)
        yield url


@contextmanager
def moto(directory: Path, *, unverified_actions: int | None = None) -> Iterator[str]:
    """Returns the URL of a moto, with the role of the functions. Its functions run in Docker only, so nothing here
    runs their code.

    unverified_actions: the number of actions after which signatures are verified, without the role's; None: never
    """
    directory.mkdir(exist_ok=True)
    port = free_port()
    environment = bare_environment(directory) | {"MOTO_ACCOUNT_ID": "000000000000"}
    if unverified_actions is not None:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(unverified_actions + 1)
    command = [str(PROGRAMS / "moto_server"), "-H", LOOPBACK, "-p", str(port)]
    with running(command, directory / "moto.log", environment, directory) as process:
        process.wait_until(lambda: listens(port), "moto listens", timeout=60)
        url = f"http://{LOOPBACK}:{port}"
        create_role(url)
        yield url


def create_role(url: str) -> None:
    """Creates the role of the functions, which moto asks for."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret"}
    with closing(
        boto3.client("iam", endpoint_url=url, region_name="us-east-1", config=Config(proxies={}), **keys)
    ) as client:
        client.create_role(RoleName="live", AssumeRolePolicyDocument="{}")


class RuntimeInterfaceEmulator:
    """Runs AWS's emulator with one Python function in it; it serves one call at a time and one path."""

    def __init__(self, url: str, process: RunningProcess) -> None:
        self.url = url
        self.process = process


@contextmanager
def runtime_interface_emulator(directory: Path, timeout_seconds: int = 300) -> Iterator[RuntimeInterfaceEmulator]:
    """Runs the emulator with handler.py, for so long at most."""
    directory.mkdir(exist_ok=True)
    shutil.copy(HERE / "handler.py", directory)
    port, runtime_port = free_port(), free_port()
    command = [str(RIE_BINARY), "--runtime-interface-emulator-address", f"{LOOPBACK}:{port}"]
    command += ["--runtime-api-address", f"{LOOPBACK}:{runtime_port}"]
    command += [sys.executable, "-m", "awslambdaric", "handler.handle"]
    environment: Mapping[str, str] = bare_environment(directory) | {
        "AWS_LAMBDA_FUNCTION_NAME": "probe",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
    }
    with running(command, directory / "rie.log", environment, directory) as process:
        process.wait_until(lambda: listens(port), "the Runtime Interface Emulator listens")
        yield RuntimeInterfaceEmulator(f"http://{LOOPBACK}:{port}", process)
