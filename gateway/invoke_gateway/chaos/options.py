"""Reads the options of `prove`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from .cluster import LEASE_SECONDS, Sharing
from .faults.fault_log import LEASE
from .faults.kinds import FaultKind
from .wire import HostPort

PARTITION_SECONDS = 30.0  # for which a gateway is cut off where a seed has
PARTITION_SECONDS_NEED = 120.0


RENAMED = {
    "--only": "--faults",
    "--kills": "--fault-count",
    "--around": "--timeline",
    "--cut-seconds": "--partition-seconds",
    "--operations": "--admin",
    "--heal-after": "--reclaim-after",
}


class ProveCommand(click.Command):
    """Names the new option where an old one is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for old in (arg.partition("=")[0] for arg in args):
            if old in RENAMED:
                raise click.UsageError(f"{old} is now {RENAMED[old]}: give {RENAMED[old]}.", ctx=ctx)
        return super().parse_args(ctx, args)


def read_endpoint(context: click.Context, parameter: click.Parameter, value: str | None) -> HostPort | None:
    """Reads HOST:PORT, or http://HOST:PORT. Raises `click.BadParameter`."""
    if value is None:
        return None
    try:
        parts = urlsplit(value if "//" in value else f"http://{value}")
        port = parts.port
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path.strip("/") or parts.query:
        raise click.BadParameter(f"{value!r} is not HOST:PORT or http://HOST:PORT (prove speaks plain HTTP)")
    return HostPort(parts.hostname, port)


def read_token(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reads the admin token at env:NAME or file:/path; from the variable also the token itself. Raises
    `click.BadParameter`."""
    if not value:
        return None
    kind, _, name = value.partition(":")
    try:
        found = os.environ.get(name) if kind == "env" else Path(name).read_text() if kind == "file" else None
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    if kind not in ("env", "file") and context.get_parameter_source(str(parameter.name)) is ParameterSource.ENVIRONMENT:
        found = value
    if not (found and found.strip()):
        raise click.BadParameter("there is no token; write env:NAME or file:/path of one")
    return found.strip()


def read_fault_kinds(context: click.Context, parameter: click.Parameter, value: str | None) -> list[FaultKind] | None:
    """Reads a list of faults. Raises `click.BadParameter`."""
    if value is None:
        return None
    words = {kind.word: kind for kind in FaultKind}
    wanted = [word.strip() for word in value.split(",")]
    unknown = [word for word in wanted if word not in words]
    if unknown:
        raise click.BadParameter(f"{', '.join(map(repr, unknown))}: the faults are {', '.join(words)}")
    return [words[word] for word in wanted]


def read_sharing(
    gateways: int, workers: int, store: str | None, lease: float | None, reclaim_after: str | None
) -> Sharing | None:
    """Returns `None` for one gateway that counts by itself. Raises `click.UsageError`."""
    if store is None:
        if gateways > 1 or workers > 1 or lease is not None or reclaim_after is not None:
            raise click.UsageError(
                "--gateways, --workers, --lease and --reclaim-after are for gateways that share a store: give --redis "
                "spawn, or --redis redis://HOST:PORT/0 of one that is there for this only."
            )
        return None
    return Sharing(gateways, store, LEASE_SECONDS if lease is None else lease, reclaim_after or LEASE, workers)


def choose_partition_seconds(wanted: float | None, seconds_of_seed: float) -> float:
    if wanted is not None:
        return wanted
    return PARTITION_SECONDS if seconds_of_seed >= PARTITION_SECONDS_NEED else 0.0


def read_seeds(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[int]:
    """Reads whole numbers, several of one option between commas. Raises `click.BadParameter`."""
    try:
        return [int(part) for value in values for part in value.split(",") if part.strip()]
    except ValueError:
        shown = ", ".join(map(repr, values))
        raise click.BadParameter(f"{shown} is not a list of whole numbers, such as 7 or 7,8.") from None


def choose_seeds(count: int | None, first: int | None) -> range:
    start = secrets.randbelow(1_000_000) if first is None else first
    return range(start, start + (count or 1))


def check_is_writable(report: Path) -> None:
    """Checks, before minutes are spent, that the report can be written. Raises `click.BadParameter`."""
    try:
        with report.open("a"):
            pass
    except OSError as error:
        raise click.BadParameter(f"{report}: {error.strerror}", param_hint="--report") from None
