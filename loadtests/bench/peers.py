"""Finds, configures (with a limit in flight) and starts the proxies of the comparison."""

import filecmp
import importlib.metadata
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtests.bench.calls import ACCESS_KEY, SECRET
from loadtests.bench.processes import Trouble, free_port

CONFIGS = Path(__file__).parent / "configs"
ROOT = Path(__file__).parents[2]
VENV = Path(sys.executable).parent
COMPILED_VENV = ROOT / ".venv-compiled"
SOURCES = ROOT / "gateway" / "invoke_gateway"
NO_PACKAGE = "make bench"
MAKE_COMPILED = "make compiled"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Describes the place of one process.

    `limit`: calls in flight. `buffer`: the size of nginx's buffers for a response. `connections`, `idle`: nginx's most
    connections, and the most idle ones to its backend. `host`: where it listens.
    """

    directory: Path
    backend: int
    limit: int
    buffer: str = "4k"
    workers: int = 1
    connections: int = 4096
    idle: int = 64
    host: str = LOOPBACK
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    def fill(self, text: str, **more: str) -> str:
        """Replaces each `@name@` by the value of that name."""
        values = {**vars(self), "python": sys.executable, **more}
        return re.sub(r"@([a-z]+)@", lambda found: str(values[found[1]]), text)

    def write(self, config: str, **more: str) -> Path:
        """Writes a file of `configs/`, filled in, into the directory."""
        path = self.directory / config
        path.write_text(self.fill((CONFIGS / config).read_text(), **more))
        return path


@dataclass(frozen=True)
class Peer:
    """Describes one row of the comparison.

    `holds`: calls that must wait before it refuses all others at a limit of 1. `refuses`: the status of its refusals.
    `saying`: a word of that response; None without a limit (the floor).
    """

    name: str
    binary: str
    arguments: tuple[str, ...]
    install: str
    configs: tuple[str, ...] = ()
    version_arguments: tuple[str, ...] = ("--version",)
    refuses: int | None = 429
    saying: bytes = b""
    holds: int = 1
    environment: tuple[tuple[str, str], ...] = ()

    def find(self) -> Path | None:
        """Finds its program: beside this Python first, then on the search path."""
        path = f"{VENV}:/usr/local/sbin:/usr/sbin:/sbin"
        found = shutil.which(self.binary, path=path) or shutil.which(self.binary)
        return Path(found) if found else None

    def command(self, program: Path, place: Place) -> list[str]:
        """Writes its configuration and returns its command."""
        for config in self.configs:
            place.write(config)
        return [str(program), *(place.fill(argument) for argument in self.arguments)]

    def version(self) -> str:
        """Returns its version; empty when it is missing."""
        if self.name in (GATEWAY, SIGNING, VERIFYING):
            return importlib.metadata.version("invoke-gateway")
        program = self.find()
        if program is None:
            return ""
        try:
            told = subprocess.run([program, *self.version_arguments], capture_output=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Trouble(f"{self.name} does not tell its version: {error}") from error
        found = re.search(rb"\d+\.\d+\.\d+", told.stdout + told.stderr)
        return found[0].decode() if found else "?"


HOLDING_BACKEND = ("@python@", "-m", "loadtests.bench.backend", "@port@", "@admin@")

GATEWAY = "gateway"
EARLIER = "earlier gateway"
SIGNING = "gateway, signing"
VERIFYING = "gateway, verifying"
COMPILED = "gateway, compiled"
FLOOR = "uvicorn hello"

_ONE_THREAD = (("GOMAXPROCS", "1"),)
_TRAEFIK = (
    "--global.checkNewVersion=false",
    "--global.sendAnonymousUsage=false",
    "--log.level=ERROR",
    "--entryPoints.invoke.address=127.0.0.1:@port@",
    "--entryPoints.invoke.transport.lifeCycle.graceTimeOut=1s",
    "--providers.file.filename=@directory@/traefik.yaml",
    "--providers.file.watch=false",
)


def gateway(program: str | None = None, name: str = GATEWAY) -> Peer:
    """Returns the gateway with its defaults: every check and every metric on."""
    return Peer(
        name,
        program or str(VENV / "invoke-gateway"),
        (
            "serve",
            "--listen=@host@:@port@",
            "--admin=127.0.0.1:@admin@",
            "--backend=http://127.0.0.1:@backend@",
            "--concurrent-executions=@limit@",
        ),
        install="make run",
        saying=b'"ConcurrentInvocationLimitExceeded"',
    )


def with_workers(peer: Peer, workers: int) -> Peer:
    """Returns the peer with a name of its own. The gateway needs an option; the configurations of others have the
    number."""
    name = f"{peer.name}, {workers} worker{'s' if workers > 1 else ''}"
    option = ("--workers=@workers@",) if workers > 1 and peer.saying == gateway().saying else ()
    return replace(peer, name=name, arguments=(*peer.arguments, *option))


def signing_gateway() -> Peer:
    """Returns the gateway that signs each request to its backend; its difference to `gateway` is what signing adds."""
    return replace(
        gateway(name=SIGNING),
        arguments=(*gateway().arguments, "--backend-sign-credentials=env"),
        environment=(("AWS_ACCESS_KEY_ID", "AKIABENCH"), ("AWS_SECRET_ACCESS_KEY", "unused")),
    )


def verifying_gateway() -> Peer:
    """Returns the gateway that verifies each request; its difference to `gateway` is what that adds."""
    callers = f"{{{ACCESS_KEY}: {{secret: env:BENCH_SECRET, arn: 'arn:aws:iam::111122223333:user/bench'}}}}"
    return replace(
        gateway(name=VERIFYING),
        arguments=(*gateway().arguments, "--signatures=verify", f"--callers={callers}"),
        environment=(("BENCH_SECRET", SECRET),),
    )


def compiled_gateway() -> Peer:
    """Returns the gateway with compiled modules; its ratio to `gateway` is what they save."""
    program = COMPILED_VENV / "bin" / "invoke-gateway"
    return replace(gateway(str(program), COMPILED), install=MAKE_COMPILED)


def find_compiled(venv: Path = COMPILED_VENV, sources: Path = SOURCES) -> Path | None:
    """Returns the compiled build's package; None where it is missing or of other sources than these."""
    package = next(venv.glob("lib/python*/site-packages/invoke_gateway"), None)
    if package is None or next(package.rglob("*.so"), None) is None:
        return None
    names = [str(path.relative_to(sources)) for path in sources.rglob("*.py")]
    _, different, missing = filecmp.cmpfiles(sources, package, names, shallow=False)
    return None if different or missing else package


PEERS = (
    signing_gateway(),
    verifying_gateway(),
    compiled_gateway(),
    Peer(
        "nginx",
        "nginx",
        ("-e", "stderr", "-p", "@directory@", "-c", "@directory@/nginx.conf"),
        install="apt install nginx-light",
        configs=("nginx.conf",),
        version_arguments=("-v",),
    ),
    Peer(
        "HAProxy",
        "haproxy",
        ("-db", "-f", "@directory@/haproxy.cfg"),
        install="apt install haproxy",
        configs=("haproxy.cfg",),
        version_arguments=("-v",),
    ),
    Peer(
        "Envoy",
        "envoy",
        ("--concurrency", "@workers@", "--disable-hot-restart", "-l", "error", "-c", "@directory@/envoy.yaml"),
        install=NO_PACKAGE,
        configs=("envoy.yaml",),
        refuses=503,
        holds=2,
    ),
    Peer(
        "Traefik",
        "traefik",
        _TRAEFIK,
        install=NO_PACKAGE,
        configs=("traefik.yaml",),
        version_arguments=("version",),
        environment=_ONE_THREAD,
    ),
    Peer(
        "Traefik fastProxy",
        "traefik",
        (*_TRAEFIK, "--experimental.fastProxy=true"),
        install=NO_PACKAGE,
        configs=("traefik.yaml",),
        version_arguments=("version",),
        environment=_ONE_THREAD,
    ),
    Peer(
        "Caddy",
        "caddy",
        ("run", "--adapter", "caddyfile", "--config", "@directory@/Caddyfile"),
        install=NO_PACKAGE,
        configs=("Caddyfile",),
        version_arguments=("version",),
        refuses=503,
        environment=_ONE_THREAD,
    ),
    Peer(
        FLOOR,
        "uvicorn",
        (
            "loadtests.bench.hello:app",
            "--host=127.0.0.1",
            "--port=@port@",
            "--loop=uvloop",
            "--http=httptools",
            "--lifespan=off",
            "--log-level=warning",
            "--no-access-log",
            "--no-proxy-headers",
        ),
        install="make run",
        refuses=None,
    ),
)
