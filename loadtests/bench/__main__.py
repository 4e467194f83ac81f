"""Runs a benchmark: `python -m loadtests.bench COMMAND`, from the repository's root. --help lists the commands."""

import signal
import sys
from collections.abc import Sequence

import click

from invoke_gateway.chaos.store import find_server
from loadtests.bench import connections, in_flight, machine, metrics, million, report, scrape, shared, store
from loadtests.bench.compare import chosen
from loadtests.bench.console import (
    STARTING_SECONDS,
    CompareByDefault,
    OutOfTime,
    bounded,
    command_line,
    leave,
    program_option,
    publish,
    tell,
)
from loadtests.bench.counted import command as counted
from loadtests.bench.goals import command as goals
from loadtests.bench.paths import BODIES, PATHS
from loadtests.bench.peers import GATEWAY, gateway
from loadtests.bench.processes import Trouble
from loadtests.bench.profiling import profile
from loadtests.bench.queue import accept, backlog, drain, kept, subjects, tables


@click.group(cls=CompareByDefault)
def main() -> None:
    """Measures the cost of a request. Without a command: `compare`."""
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    machine.raise_descriptor_limit()


for command in goals.COMMANDS:
    main.add_command(command)


@main.command("profile")
@program_option
@click.option("--seconds", default=8, show_default=True, type=click.IntRange(1))
@click.option("--path", "paths", multiple=True, type=click.Choice((*PATHS, *BODIES)), help="Only this path.")
@click.option("--native", is_flag=True, help="Show functions of C extensions too.")
def profile_command(program: str | None, seconds: int, paths: Sequence[str], native: bool) -> None:
    """Lists the gateway's top ten functions under the forwarded and the refused load."""
    with bounded(STARTING_SECONDS + 4 * seconds):
        found = [profile(path, gateway(program), seconds, native) for path in paths or PATHS]
    publish(report.profiles(found, command_line()), is_whole=not (paths or native or program))


@main.command("counted")
@click.option("--write", "is_written", is_flag=True, help="Write the counts as the baseline of this Python.")
@click.option("--functions", default=0, type=click.IntRange(0), help="Print so many functions, the dearest first.")
def counted_command(is_written: bool, functions: int) -> None:
    """Counts the instructions, functions and system calls of a call, and compares them with the baseline."""
    with bounded(STARTING_SECONDS):
        counted.run(click.echo, is_written=is_written, functions=functions)


@main.command("in-flight")
@program_option
@click.option("--calls", "count", default=in_flight.CALLS, show_default=True, type=click.IntRange(1))
def in_flight_command(program: str | None, count: int) -> None:
    """Runs many invocations at once in one process: none is lost; reports the memory of each."""
    with bounded(STARTING_SECONDS + 5 * in_flight.WAIT_SECONDS):
        outcome = in_flight.run(count, gateway(program), tell)
    publish(report.in_flight(outcome, command_line()), is_whole=not program)
    if not outcome.is_good:
        raise Trouble("not every call is accounted for: see the lines that say NO")


@main.command("connections")
@program_option
@click.option("--connections", "count", default=connections.CONNECTIONS, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10, show_default=True, type=click.IntRange(1), help="Length of one round.")
def connections_command(program: str | None, count: int, rounds: int, seconds: int) -> None:
    """Measures one worker over 10,000 connections beside nginx: calls a second, memory, time of a call."""
    crowd = connections.plan(count)
    peers = chosen(["nginx"], gateway(program))
    with bounded(STARTING_SECONDS + 2 * len(peers) * rounds * (seconds + 10)):
        rows = connections.run(peers, crowd, rounds, seconds, tell)
    is_whole = not program and count == connections.CONNECTIONS
    publish(connections.report(rows, crowd, command_line()), is_whole)


@main.command("million")
@program_option
@click.option("--functions", default=million.MILLION, show_default=True, type=click.IntRange(2, 9_999_999))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1), help="Length of one round.")
def million_command(program: str | None, functions: int, rounds: int, seconds: int) -> None:
    """Measures a million configured functions beside one: start-up time, memory, CPU time per request."""
    with bounded(2 * million.START_SECONDS + STARTING_SECONDS + 4 * rounds * seconds):
        found = million.run(functions, gateway(program), rounds, seconds, tell)
    publish(report.million(found, command_line()), is_whole=not program)


@main.command("scrape")
@program_option
@click.option("--functions", default=scrape.FUNCTIONS, show_default=True, type=click.IntRange(2, 1_000_000))
@click.option("--scrapes", default=15, show_default=True, type=click.IntRange(1))
def scrape_command(program: str | None, functions: int, scrapes: int) -> None:
    """Measures scrapes of /metrics with ten thousand labelled functions: their length, and the delay of requests."""
    with bounded(STARTING_SECONDS + 20 * scrapes):
        found = scrape.run(functions, gateway(program), scrapes, tell)
    publish(scrape.report(found, command_line()), is_whole=not program)


@main.command("metrics")
@program_option
@click.option("--functions", default=scrape.FUNCTIONS, show_default=True, type=click.IntRange(2, 1_000_000))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1), help="Length of one round.")
def metrics_command(program: str | None, functions: int, rounds: int, seconds: int) -> None:
    """Measures the cost of metrics: CPU time per invoke with and without counting, and CPU time of a scrape."""
    with bounded(STARTING_SECONDS + 8 * rounds * seconds):
        found = metrics.run(functions, gateway(program), rounds, seconds, tell)
    publish(metrics.report(found, command_line()), is_whole=not program)


@main.command("shared")
@program_option
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1), help="Length of one round.")
def shared_command(program: str | None, rounds: int, seconds: int) -> None:
    """Measures shared counters beside counters in memory: CPU time per invoke, added time, admissions alone."""
    with bounded(STARTING_SECONDS + 12 * rounds * seconds):
        found = shared.run(gateway(program), rounds, seconds, tell)
    publish(shared.report(found, command_line()), is_whole=not program)


@main.command("store")
@click.option("--server", "program", help="The redis-server or valkey-server to measure; otherwise the first found.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Length of one round.")
def store_command(program: str | None, rounds: int, seconds: float) -> None:
    """Measures an admission with shared counters, in the client and in the store, by size of the batch."""
    with bounded(STARTING_SECONDS + (len(store.BATCHES) + len(store.GATEWAYS)) * rounds * seconds):
        found = store.run(program or find_server(), rounds, seconds, tell)
    click.echo(store.describe(found))


@main.group("queue", cls=CompareByDefault)
def queue_group() -> None:
    """Measures events: accepted a second, CPU of each, a backlog run, durability. Without a command: `compare`."""


@queue_group.command("compare")
@program_option
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=2, show_default=True, type=click.IntRange(1), help="Length of one flood.")
@click.option("--events", default=100_000, show_default=True, type=click.IntRange(5), help="Size of the backlog.")
@click.option("--only", multiple=True, help="Only those with this word in their name; may be repeated.")
def queue_command(program: str | None, rounds: int, seconds: int, events: int, only: Sequence[str]) -> None:
    """Measures events accepted a second and CPU of each, beside MiniStack, serverless-offline and huey.

    It also runs a backlog, and counts the events that survive a kill. The stores are files in the folder for temporary
    files (TMPDIR). A run with options for less is printed and not written to loadtests/results/.
    """
    subject = gateway(program)
    with bounded(STARTING_SECONDS + 2 * subjects.NPM_SECONDS + 60 * rounds * (seconds + 5) + events / 200):
        accepted = accept.run(subject, rounds, seconds, only, tell)
        has_gateway = any(row.name.startswith(GATEWAY) for row in accepted.rows)
        drained = drain.run(subject, events, tell) if has_gateway else []
        still = kept.run(subject, only, tell)
    publish(tables.comparison(accepted, drained, still, command_line()), is_whole=not (only or program))
    if not tables.is_good(accepted, drained, still):
        raise Trouble("not every event of the gateway is accounted for; the tables say which")


@queue_group.command("million")
@program_option
@click.option("--events", default=backlog.MILLION, show_default=True, type=click.IntRange(4))
def queue_million_command(program: str | None, events: int) -> None:
    """Measures a backlog of a million: memory, time to accept and to restart, and synchronous calls meanwhile."""
    with bounded(STARTING_SECONDS + 6 * backlog.CALLING_SECONDS + events / 500):
        found = backlog.run(gateway(program), events, tell)
    publish(tables.million(found, command_line()), is_whole=not program)
    if not found.is_good:
        raise Trouble("not every event is accounted for: see the lines that say NO")


if __name__ == "__main__":
    try:
        main(prog_name="python -m loadtests.bench")
    except (Trouble, OutOfTime, OSError) as error:
        sys.exit(f"Error: {error}")
