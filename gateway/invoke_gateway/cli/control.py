"""Prints, sets and drops what Lambda's control operations have set: `invoke-gateway control`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from invoke_gateway.admin_client import ControlFailed
from invoke_gateway.cli.options import admin_option, give_up, json_option, open_client
from invoke_gateway.cli.output.tables import count, print_json, printable
from invoke_gateway.settings import Address
from invoke_gateway.settings.files.file import read_value
from invoke_gateway.settings.files.yaml_text import write_yaml


@click.group()
def control() -> None:
    """Print, set or drop what Lambda's control operations have set.

    These are the limits that PutFunctionConcurrency and its companions set on a running gateway.
    """


@control.command()
@click.option("--account", metavar="ID", help="Print the values of this account only; `default` is the default one.")
@json_option
@admin_option
@click.pass_context
def export(ctx: click.Context, account: str | None, as_json: bool, admin: Address) -> None:
    """Print it as settings, to paste into a settings file.

    What settings cannot express is printed as comments. With --json everything is printed, in the form that
    `control import` reads.
    """
    try:
        document = open_client(admin).export_control(account)
    except ControlFailed as error:
        give_up(ctx, error)
    if as_json:
        print_json(document)
    else:
        click.echo(render(document), nl=False)


def render(document: dict[str, Any]) -> str:
    """Returns the text of a settings file."""
    version = count(document.get("version", 0), "change")
    lines = [f"# Set by Lambda's operations ({version}, {printable(document.get('store', ''))})."]
    comments = document.get("comments", ())
    if comments:
        lines.append("# Not settings:")
        lines += [f"# - {printable(comment)}" for comment in comments]
    settings = document.get("settings")
    text = "\n".join(lines) + "\n"
    return text + (write_yaml(settings) if settings else "" if comments else "# Nothing is set.\n")


@control.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--account", metavar="ID", help="Set the values of this account of the file only.")
@json_option
@admin_option
@click.pass_context
def import_file(ctx: click.Context, file: Path, account: str | None, as_json: bool, admin: Address) -> None:
    """Set all values of FILE; - is standard input.

    FILE is what `control export` prints, as YAML or JSON. Each value is set by its operation of Lambda, with the same
    checks. If one is refused, nothing is set, and every mistake is printed. Values that FILE does not name are kept.
    If a shared store fails in the middle, the error names the accounts whose values are set.
    """
    document = read_file(file, account)
    try:
        answer = open_client(admin).import_control(document)
    except ControlFailed as error:
        for mistake in error.mistakes:
            click.echo(f"{printable(mistake.get('key', ''))}: {printable(mistake.get('text', ''))}", err=True)
        give_up(ctx, error)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{count(len(answer['changed']), 'function')} changed")


def read_file(file: Path, account: str | None) -> dict[str, Any]:
    """Returns the document of a file, or its part of one account. Raises `UsageError`."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from None
    is_json = file.suffix == ".json" or data.lstrip()[:1] in (b"{", b"[")
    document, problems = read_value(data, is_json=is_json)
    if problems:
        said = "; ".join(f"{problem.key} {problem.message} ({problem.cure})".lstrip() for problem in problems)
        raise click.UsageError(f"{file}: {said}.")
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise click.UsageError(f"{file} is no mapping: write the key accounts, as `control export` does.")
    accounts = document.get("accounts")
    if account is not None and isinstance(accounts, dict):
        if account not in accounts:
            raise click.UsageError(f"{file} has no account {account}.")
        document = {**document, "accounts": {account: accounts[account]}}
    return document


@control.command()
@click.argument("function")
@click.option("--account", metavar="ID", help="Account whose function it is; the default one without it.")
@json_option
@admin_option
@click.pass_context
def reset(ctx: click.Context, function: str, account: str | None, as_json: bool, admin: Address) -> None:
    """Drop all that the operations have set for FUNCTION.

    Its limits are then those of the settings file, or the defaults.
    """
    try:
        answer = open_client(admin).reset_control(function, account)
    except ControlFailed as error:
        give_up(ctx, error)
    if as_json:
        print_json(answer)
    else:
        dropped = ", ".join(printable(key) for key in answer["dropped"])
        click.echo(f"dropped of {printable(answer['function'])}: {dropped}")
