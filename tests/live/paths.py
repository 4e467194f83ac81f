"""Compares the spellings of an invocation's path that real routers route to the function with those that the gateway
counts.

`python -m tests.live.paths` prints the table. `routed` is measured: each spelling is sent to each router unchanged.
`counted` is the result of the gateway's own parser.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from invoke_gateway.policy.requests.request_target import BadTarget, parse_target
from tests.live import servers
from tests.live.scenario import create_functions
from tests.support.processes import LOOPBACK, bare_environment, running

HERE = Path(__file__).parent
PATIENCE = 60.0
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
PLAIN = "/2015-03-31/functions/checkout/invocations"

SPELLINGS = [
    PLAIN,
    "/2014-11-13/functions/checkout/invoke-async",
    "/2021-11-15/functions/checkout/response-streaming-invocations",
    # letter case
    "/2015-03-31/Functions/checkout/Invocations",
    "/2015-03-31/FUNCTIONS/checkout/INVOCATIONS",
    "/2014-11-13/functions/checkout/Invoke-Async",
    "/2021-11-15/functions/checkout/Response-Streaming-Invocations",
    "/2015-03-31/functions/checkout/invocation%C5%BF",
    "/2014-11-13/functions/checkout/invo%E2%84%AAe-async",
    "/2015-03-31/functions/checkout/%C4%B0nvocations",
    "/2015-03-31/functions/checkout/%C4%B1nvocations",
    "/2015-03-31/functions/checkout/%EF%BD%89nvocations",
    # escapes
    "/2015-03-31/functions/checkout/%69nvocations",
    "/2015-03-31/functions/checkout/%49nvocations",
    "/%32015-03-31/%66unctions/%63heckout/%69nvocations",
    "/2015-03-31/functions/checkout/%2569nvocations",
    "/2015-03-31/functions/checkout/%2549nvocations",
    "/2015-03-31/functions/check%256Fut/invocations",
    "/2015-03-31/functions%2Fcheckout%2Finvocations",
    "/2015-03-31/functions/checkout%2Finvocations",
    "/2015-03-31/functions/checkout%252Finvocations",
    "/2015-03-31/functions/checkout/%u0069nvocations",
    "/2015-03-31/functions/checkout/%c1%a9nvocations",
    "/2015-03-31/functions/checkout%c0%afinvocations",
    # matrix parameters
    "/2015-03-31/functions/checkout/invocations;x=1",
    "/2015-03-31/functions/checkout/invocations;",
    "/2015-03-31/functions/checkout/invocations%3Bx=1",
    "/2015-03-31/functions;x=1/checkout/invocations",
    "/2015-03-31;x=1/functions/checkout/invocations",
    "/2015-03-31/functions/checkout;x=1/invocations",
    "/;x/2015-03-31/functions/checkout/invocations",
    # slashes
    "//2015-03-31/functions/checkout/invocations",
    "/2015-03-31//functions/checkout/invocations",
    "/2015-03-31/functions//checkout/invocations",
    "/2015-03-31/functions/checkout//invocations",
    "/2015-03-31/functions/checkout/invocations/",
    "/2015-03-31/functions/checkout/invocations//",
    "/2015-03-31/functions/checkout/invocations%2F",
    "//functions/checkout/invocations",
    "//host/2015-03-31/functions/checkout/invocations",
    "///host/2015-03-31/functions/checkout/invocations",
    "//user:password@host:80/2015-03-31/functions/checkout/invocations",
    "/\\host/2015-03-31/functions/checkout/invocations",
    "/2015-03-31\\functions\\checkout\\invocations",
    "\\2015-03-31\\functions\\checkout\\invocations",
    "/2015-03-31/functions/checkout\\invocations",
    "/2015-03-31/functions/checkout%5Cinvocations",
    # dot segments
    "/./2015-03-31/functions/checkout/invocations",
    "/x/../2015-03-31/functions/checkout/invocations",
    "/x/%2e%2e/2015-03-31/functions/checkout/invocations",
    "/x/.%2E/2015-03-31/functions/checkout/invocations",
    "/x/..%2F2015-03-31/functions/checkout/invocations",
    "/x/..;/2015-03-31/functions/checkout/invocations",
    "/../../2015-03-31/functions/checkout/invocations",
    "/2015-03-31//../functions/checkout/invocations",
    "/2015-03-31/functions/other/../checkout/invocations",
    "/2015-03-31/functions/checkout/x/../invocations",
    "/2015-03-31/functions/checkout/./invocations",
    "/2015-03-31/functions/checkout/invocations/.",
    "/2015-03-31/functions/checkout/invocations/x/..",
    "/2015-03-31/functions/other/invocations/../../checkout/invocations",
    "/2015-03-31/functions/other/invocations%2F..%2F..%2Fcheckout/invocations",
    "/2015-03-31/functions/other/invocations/../invoke-async",
    "/%2e%2e/functions/checkout/invocations",
    # what stands before, within and behind
    "/2015-03-31/functions/checkout/invocations/more",
    "/prefix/2015-03-31/functions/checkout/invocations",
    "/functions/checkout/invocations",
    "/2015-03-31/functions/checkout/invocations.json",
    "/2015-03-31/functions/checkout/invocations%20",
    "/2015-03-31/functions/checkout/%20invocations",
    "/2015-03-31/functions/checkout/invocations%09",
    "/2015-03-31/functions/checkout/invocations%0A",
    "/2015-03-31/functions/checkout/invo%0Acations",
    "/2015-03-31/functions/checkout/invo%250Acations",
    "/2015-03-31/functions/checkout/invocations%00",
    "/2015-03-31/functions/checkout/invocations%00.txt",
    "/2015-03-31/functions/checkout/invocations+",
    "/2015-03-31/functions/checkout/invocations%3Fx",
    "/2015-03-31/functions/checkout/invocations%23x",
    # other operations
    "/2015-03-31/functions/checkout/versions",
    "/2015-03-31/functions/checkout/policy",
    "/2015-03-31/functions/invocations/policy",
    "/2015-03-31/functions/invocations",
    "/2015-03-31/functions",
]


class Router(NamedTuple):
    """Describes a server with routes for the three operations. `shows_name`: its responses name the function that was
    run."""

    name: str
    port: int
    shows_name: bool = True


class Row(NamedTuple):
    """Holds a spelling: the gateway's reading (`counted`, `refused`, `-`), and the function that each router runs for
    it."""

    path: str
    verdict: str
    function: str | None
    ran: dict[str, str]


def judge(path: str) -> tuple[str, str | None]:
    """Returns the gateway's reading of a path, and the function that it counts."""
    target = parse_target(path.encode("latin-1"), b"", {}, "us-east-1")
    if target is None:
        return "-", None
    return ("refused", None) if isinstance(target, BadTarget) else ("counted", target.function.name)


def send(port: int, target: str, method: str = "POST", *headers: str) -> bytes:
    """Returns the whole response to one request for this target, as bytes; none if the server hangs up."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: localhost:{port}", f"Authorization: {SIGNED}", *headers]
    lines += ["Content-Type: application/json", "Content-Length: 2", "Connection: close", "", "{}"]
    answer = b""
    with socket.create_connection((LOOPBACK, port), PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer


def find_function(router: Router, target: str, method: str = "POST") -> str | None:
    """Returns the function that the router runs for a target, `?` without its name; None if it runs none."""
    head, _, _ = send(router.port, target, method).partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if router.shows_name:
        return unquote(headers[b"x-ran"].decode()) if b"x-ran" in headers else None
    return "?" if b"x-amz-executed-version" in headers or b" 202 " in head else None


def measure(routers: Sequence[Router], paths: Iterable[str]) -> list[Row]:
    rows = []
    for path in paths:
        ran = {router.name: function for router in routers if (function := find_function(router, path)) is not None}
        rows.append(Row(path, *judge(path), ran))
    return rows


def find_holes(rows: Iterable[Row]) -> list[str]:
    """Returns the targets that some router runs and the gateway does not count, or counts for another function.

    A name in lower case is the same: routers that fold the path fold the name, too. No function's name has a slash.
    """
    holes = []
    for row in rows:
        for router, function in row.ran.items():
            if row.verdict == "-":
                holes.append(f"{row.path} is run by {router} and not counted")
            elif row.verdict == "counted" and not _may_be(function, row.function or ""):
                holes.append(f"{row.path} is run by {router} as {function!r} and counted for {row.function!r}")
    return holes


def _may_be(ran: str, counted: str) -> bool:
    return ran == "?" or "/" in ran or ran.lower() == counted.lower()


def mix_spellings(seed: int, count: int) -> Iterator[str]:
    """Returns paths with several changes at once, the same for the same seed."""
    dice = random.Random(seed)
    changes = [
        lambda text: text.upper(),
        lambda text: text.title(),
        lambda text: f"{text};x=1",
        lambda text: f"{text};",
        lambda text: f"%{ord(text[0]):02x}{text[1:]}",
        lambda text: f"%25{ord(text[0]):02X}{text[1:]}",
        lambda text: f"x/../{text}",
        lambda text: f"x/%2e%2e/{text}",
        lambda text: f"./{text}",
        lambda text: f"/{text}",
        lambda text: f"{text}/.",
        lambda text: f"{text}%20",
        lambda text: f"%2e/{text}",
        lambda text: f"..;/{text}",
        lambda text: f"{text}/..%2f{text}",
    ]
    for _ in range(count):
        segments = ["2015-03-31", "functions", "checkout", "invocations"]
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(segments))
            segments[place] = dice.choice(changes)(segments[place])
        slashes = [dice.choice(["/"] * 8 + ["//", "\\", "%2F", "%5C", "/./"]) for _ in segments]
        start = dice.choice(["", "", "", "", "/", "/host", "/\\host", "/x/.."])
        end = dice.choice(["", "", "", "", "/", "//", ";", ".json", "/more", "%2f", "/..", "%00"])
        slashes[0] = "/"
        yield start + "".join(slash + segment for slash, segment in zip(slashes, segments, strict=True)) + end


def why_no_node() -> str | None:
    """Returns the reason why the routers of Node are not tested, None if they are."""
    if shutil.which("node") is None:
        return "Node is not installed: the routers of Express, Fastify, Koa, hapi and Hono are not tested"
    if not (HERE / "node_modules" / "express").is_dir():
        return "Express is not there: `make live` installs it, with npm"
    return None


@contextmanager
def serving(directory: Path, *command: str) -> Iterator[list[Router]]:
    """Runs the routers of a program that prints their ports."""
    log = directory / f"{Path(command[-1]).name}.log"
    with running(list(command), log, bare_environment(directory), HERE.parent.parent) as process:
        process.wait_until(lambda: _read_ports(log), "the routers listen", PATIENCE)
        yield [Router(name, port) for name, port in _read_ports(log).items()]


def _read_ports(log: Path) -> dict[str, int]:
    """Finds the line of JSON among the warnings that a runtime may print."""
    lines = [line for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
    return dict(json.loads(lines[0])) if lines else {}


@contextmanager
def node_routers(directory: Path) -> Iterator[list[Router]]:
    with serving(directory, str(shutil.which("node")), str(HERE / "routers.mjs")) as routers:
        yield routers


@contextmanager
def python_routers(directory: Path) -> Iterator[list[Router]]:
    with serving(directory, sys.executable, "-m", "tests.live.routers") as routers:
        yield routers


@contextmanager
def all_routers(directory: Path, ministack: str | None = None) -> Iterator[list[Router]]:
    """Runs every router that is available here, with a MiniStack of its own if none is given."""
    with ExitStack() as stack:
        routers = [] if why_no_node() else stack.enter_context(node_routers(directory))
        routers += stack.enter_context(python_routers(directory))
        if ministack is None:
            ministack = stack.enter_context(servers.ministack(directory / "ministack"))
            create_functions(ministack)
        yield [*routers, Router("MiniStack", int(ministack.rpartition(":")[2]), shows_name=False)]


def make_table(rows: Iterable[Row], routers: Sequence[Router]) -> str:
    """Returns spelling by router: `x` if it is run."""
    names = [router.name for router in routers]
    lines = [["path", "gateway", *names], ["---"] * (len(names) + 2)]
    for row in rows:
        shown = f"`{row.path}`"
        lines.append([shown, row.verdict, *("x" if name in row.ran else "" for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, all_routers(Path(folder)) as routers:
        rows = measure(routers, SPELLINGS)
    print(make_table(rows, routers))
    if reason := why_no_node():
        print(reason)
    holes = find_holes(rows)
    print(*(holes or [f"{len(rows)} spellings, {len(routers)} routers: none is run and not counted"]), sep="\n")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
