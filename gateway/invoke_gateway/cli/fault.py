"""Makes, lists and ends fault scripts: `invoke-gateway fault`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from invoke_gateway.admin_client import AdminClient, FaultFailed
from invoke_gateway.cli.fault_steps import BadStep, describe_step, parse_step
from invoke_gateway.cli.options import admin_option, give_up, name_admin, open_client
from invoke_gateway.cli.output.row_table import Column, RowTable
from invoke_gateway.cli.output.tables import make_console, print_json
from invoke_gateway.settings import Address
from invoke_gateway.settings.files.file import read_value

EVERY_FUNCTION = "*"


@click.command()
@click.argument("function", required=False)
@click.argument("steps", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="YAML or JSON file of a script, or of its steps alone.")
@click.option("--seed", type=int, help="Seed of the probabilities; 0 without it.")
@click.option("--loop", is_flag=True, default=None, help="Begin with the first step again after the last.")
@click.option("--account", metavar="ID", help="Account whose function it is; the default one without it.")
@click.option("--list", "as_list", is_flag=True, help="Show all scripts and their progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
@click.option("--end", metavar="ID", help="End the script with this id; `all` ends all.")
@admin_option
@click.pass_context
def fault(
    ctx: click.Context,
    function: str | None,
    steps: tuple[str, ...],
    file: Path | None,
    seed: int | None,
    loop: bool | None,
    account: str | None,
    as_list: bool,
    as_json: bool,
    end: str | None,
    admin: Address,
) -> None:
    """Make the next calls of FUNCTION fail, late or cut, one step after the other.

    FUNCTION '*' is every function of the account that has no script of its own. A script replaces the one before it.
    The gateway must allow it: `serve --backend demo` does, any other backend needs `serve --faults`.

    \b
    Steps:
      pass CALLS              this number of calls pass
      throttle [CALLS]        the calls are throttled as by the function's own limit
      error NAME [REASON]     the call fails with this exception of Invoke
      latency SECONDS         the call is late and keeps its slot; goes with error or cut
      cut BYTES               the response is cut after this number of bytes of its body
      ... repeat CALLS        this number of calls in a row, instead of one
      ... probability CHANCE  each call only with this chance; all further calls pass
    """
    client = open_client(admin)
    given = {"seed": seed, "loop": loop, "account": account}
    try:
        if as_list or end is not None:
            refuse_both(as_list and end is not None, function, file, *given.values())
            show_or_end(client, end, as_json=as_json)
        else:
            wanted = read_wanted(steps, file, function=function, **given)
            make_and_show(client, wanted, name_admin(admin), as_json=as_json)
    except FaultFailed as error:
        give_up(ctx, error)


def refuse_both(*given: object) -> None:
    """Raises `UsageError` where something is given beside --list or --end."""
    if any(value is not None and value is not False for value in given):
        raise click.UsageError("--list and --end stand alone.")


def show_or_end(client: AdminClient, end: str | None, *, as_json: bool) -> None:
    """Shows all scripts, or ends one or `all`. Raises `FaultFailed`."""
    if end is None:
        _show(client.list_scripts(), as_json=as_json)
    elif end == "all":
        client.end_all_scripts()
        click.echo("ended all")
    elif client.end_script(end):
        click.echo(f"ended {end}")
    else:
        raise FaultFailed(f"there is no fault script {end}: it was ended or replaced, or never existed; see --list.")


def make_and_show(client: AdminClient, wanted: dict[str, Any], address: str, *, as_json: bool) -> None:
    """Makes a script and shows it; `address` completes the printed command that ends it. Raises `FaultFailed`."""
    script = client.make_script(wanted)
    _show([script], as_json=as_json)
    if not as_json:
        click.echo(describe_made(script, f"invoke-gateway fault --end {script['id']}{address}"))


def _show(scripts: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"faults": scripts})
    else:
        make_console().print(scripts_table(scripts))


def read_wanted(
    steps: tuple[str, ...], file: Path | None, *, function: str | None, **options: object
) -> dict[str, Any]:
    """Returns the script of the command line, whose values replace those of the file. Raises `UsageError`."""
    wanted = _read_file(file) if file is not None else {}
    if steps and file is not None:
        raise click.UsageError("Give the steps as words or with --file, not both.")
    if steps:
        try:
            wanted["steps"] = [parse_step(step) for step in steps]
        except BadStep as error:
            raise click.UsageError(f"{error}.") from None
    if not wanted.get("steps"):
        raise click.UsageError(
            f"Give FUNCTION ('{EVERY_FUNCTION}' for all), then each step in quotes, such as 'pass 1' 'error "
            "ServiceException'; or --file, --list, or --end ID."
        )
    if function is not None:
        wanted["function"] = None if function == EVERY_FUNCTION else function
    if "function" not in wanted:
        raise click.UsageError(f"Which function? Give FUNCTION, '{EVERY_FUNCTION}' for all.")
    return wanted | {key: value for key, value in options.items() if value is not None}


def _read_file(file: Path) -> dict[str, Any]:
    """Reads a script, or its steps alone, as YAML, of which JSON is a part."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from None
    document, problems = read_value(data, is_json=file.suffix == ".json")
    if problems:
        said = "; ".join(f"{problem.key} {problem.message} ({problem.cure})".lstrip() for problem in problems)
        raise click.UsageError(f"{file}: {said}.")
    if (text := _find_no_json(document)) is not None:
        raise click.UsageError(f"{file} holds {text}, which JSON does not have: put it in quotes.")
    if isinstance(document, list):
        return {"steps": document}
    if not isinstance(document, dict):
        raise click.UsageError(f"{file} is no fault script: write a mapping with the key steps, or a list of steps.")
    return document


def _find_no_json(document: Any) -> str | None:
    """Describes a value that YAML has and JSON has not: a date, a number that is none, a name that is no text."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
            if names := [name for name in value if not isinstance(name, str)]:
                return f"the name {names[0]}"
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            return f"the number {value}"
        elif not isinstance(value, str | int | float | type(None)):
            return f"the {type(value).__name__} {value}"
    return None


def scripts_table(scripts: list[dict[str, Any]]) -> RowTable:
    """Returns one row per script; an arrow marks the next step."""
    table = RowTable(
        Column("id"),
        Column("account"),
        Column("function", folds=True),
        *(Column(heading, "right") for heading in ("calls", "injected", "seed")),
        Column("steps", below="plain"),
    )
    for script in scripts:
        counts = (str(script.get(key, "")) for key in ("calls", "injected", "seed"))
        name = Text(str(script.get("function") or EVERY_FUNCTION))  # Text: a name is never read as markup
        table.add_row(str(script["id"]), str(script["account"]), name, *counts, _describe_steps(script))
    return table


def _describe_steps(script: dict[str, Any]) -> Text:
    lines = [
        f"{'→' if number == script.get('position') else ' '} {describe_step(step)}"
        for number, step in enumerate(script.get("steps", ()), 1)
    ]
    if script.get("is_over"):
        lines.append("  over: calls pass")
    elif script.get("loop"):
        lines.append("  and from the first again")
    return Text("\n".join(lines))


def describe_made(script: dict[str, Any], end: str) -> str:
    """Returns one line: the script in force, and the command that ends it."""
    function = script["function"] or "every function"
    replaced = f", in place of {script['replaced']}" if script.get("replaced") else ""
    return f"fault script {script['id']} for {function} of account {script['account']}{replaced}; `{end}` ends it"
