"""Adds the commands of the goals: `compare`, `quick` and `history`."""

from collections.abc import Sequence

import click

from loadtests.bench import in_flight
from loadtests.bench.compare import WARM_UP_SECONDS, chosen, compare, compared
from loadtests.bench.console import STARTING_SECONDS, bounded, command_line, console, program_option, publish, tell
from loadtests.bench.goals import history, numbers, whole
from loadtests.bench.goals import tables as goal_tables
from loadtests.bench.goals.whole import Measured
from loadtests.bench.paths import BODIES, PATHS
from loadtests.bench.peers import EARLIER, GATEWAY, Peer, compiled_gateway, find_compiled, gateway
from loadtests.bench.processes import Trouble


@click.command("compare")
@program_option
@click.option("--earlier", help="Another invoke-gateway, such as an earlier one, measured in the same rounds.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1), help="Length of one round.")
@click.option("--only", multiple=True, help="Only CPU time per call of this peer and the gateway; may be repeated.")
@click.option(
    "--path", "paths", multiple=True, type=click.Choice((*PATHS, *BODIES)), help="Only CPU time on this path."
)
def compare_command(
    program: str | None, earlier: str | None, rounds: int, seconds: int, only: Sequence[str], paths: Sequence[str]
) -> None:
    """Measures everything that has a goal beside nginx, HAProxy, Envoy, Traefik and Caddy.

    This is CPU time per call, calls a second of two workers, the 99th percentile at half the peak rate, what shared
    counters add, and the memory of a call in flight. The compiled build is measured in the same rounds, if `make
    compiled` has made it of these sources. A run with --only, --path, --gateway or --earlier is printed, and not
    written to loadtests/results/.
    """
    try:
        peers = chosen(only, gateway(program))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--only") from error
    is_all = not (only or paths)
    gateways = [*peers[:1], *(_compiled(program) if is_all else []), *([gateway(earlier, EARLIER)] if earlier else [])]
    found = _compare(gateways, peers[1:], only, paths, rounds, seconds)
    is_whole = is_all and not (program or earlier)
    publish(goal_tables.comparison(found, command_line()), is_whole)
    if is_whole:
        history.append(history.entry(history.figures_of(found)))
        numbers.write()
        tell("written: loadtests/results/history.jsonl and docs/explanation/numbers.md")
    if not all(row.is_good for rows in found.paths.values() for row in rows if row.name == GATEWAY):
        raise Trouble("the gateway was not measured; the table says why")


def _compiled(program: str | None) -> list[Peer]:
    """Returns the compiled build, if there is one of these sources, and they are what is measured."""
    return [compiled_gateway()] if not program and find_compiled() else []


def _compare(
    gateways: Sequence[Peer],
    peers: Sequence[Peer],
    only: Sequence[str],
    paths: Sequence[str],
    rounds: int,
    seconds: int,
) -> Measured:
    """Measures everything; with `only` or `paths`, the CPU time per call alone."""
    if not (only or paths):
        with bounded(whole.bound_seconds(len(gateways), len(peers), rounds, seconds)):
            return whole.measure(gateways, peers, rounds, seconds, in_flight.CALLS, tell)
    found = Measured(rounds, seconds, [one.name for one in gateways], is_whole=False)
    for path in paths or (*PATHS, *BODIES):
        loaded = compared(path, [*gateways, *peers], is_chosen=bool(only))
        with bounded(STARTING_SECONDS + 2 * len(loaded) * (rounds * seconds + WARM_UP_SECONDS)):
            found.paths[path] = compare(path, loaded, rounds, seconds, tell)
    return found


@click.command("quick")
@program_option
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Length of one round.")
def quick_command(program: str | None, rounds: int, seconds: int) -> None:
    """Measures everything that has a goal in about two minutes, beside the peers of the goals. Writes nothing."""
    peers = whole.quick_peers()
    gateways = [gateway(program), *_compiled(program)]
    with bounded(whole.bound_seconds(len(gateways), len(peers), rounds, seconds)):
        found = whole.measure(gateways, peers, rounds, seconds, in_flight.CALLS // 5, tell)
    publish(goal_tables.comparison(found, command_line()), is_whole=False)


@click.command("history")
@click.option("--last", default=history.LAST, show_default=True, type=click.IntRange(1), help="Runs of each machine.")
def history_command(last: int) -> None:
    """Prints the figures of the last runs of each machine, and the change since the run before."""
    entries = history.read()
    if not entries:
        click.echo("No run yet: `make bench` writes the first line of loadtests/results/history.jsonl.")
    for table in history.tables(entries, last):
        table.show(console)


COMMANDS = (compare_command, quick_command, history_command)
