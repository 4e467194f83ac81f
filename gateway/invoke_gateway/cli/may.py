"""Prints whether a caller may do something, and the statement that decides it: `invoke-gateway may`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import click

from invoke_gateway.admin_client import AdminRequestFailed
from invoke_gateway.cli.options import open_client, parse_admin, token_option
from invoke_gateway.cli.output.problems import report
from invoke_gateway.cli.output.tables import print_json, printable
from invoke_gateway.settings import Address, SettingsError, flags, load

ALLOWED, DENIED, UNDECIDED = 0, 1, 2


def _parse_optional_admin(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Address | None:
    return None if value is None else parse_admin(ctx, parameter, value)


@click.command()
@click.argument("caller")
@click.argument("function")
@click.option("--operation", metavar="NAME", default="Invoke", show_default=True, help="Operation of Lambda.")
@click.option("--source-ip", metavar="ADDRESS", help="Address of the client. Without it, conditions find none.")
@click.option(
    "--type",
    "invocation_type",
    type=click.Choice(["RequestResponse", "Event", "DryRun"]),
    default="RequestResponse",
    show_default=True,
    help="Type of an invocation.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar=flags.CONFIG_VARIABLE,
    metavar="FILE",
    help="Settings file that decides, with the environment over it, as serve reads them.",
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    callback=_parse_optional_admin,
    help="Admin listener of a running gateway, which decides also by what AddPermission has set.",
)
@token_option
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@click.pass_context
def may(
    ctx: click.Context, /, config: Path | None, admin: Address | None, as_json: bool, **question: str | None
) -> None:
    """Print whether CALLER may call FUNCTION, and the statement that decides it.

    CALLER is an access key id or an ARN of `callers`. FUNCTION is a name or an ARN, with a qualifier if the call has
    one: checkout, checkout:prod. The decision is that of the settings file, or with --admin that of a running gateway.

    \b
    Exit status:
      0  allowed
      1  denied
      2  no decision: a wrong command line, mistakes in the settings, or no gateway
    """
    if admin is not None:
        document = _ask_gateway(ctx, admin, question)
    elif config is not None:
        document = _ask_settings(ctx, config, question)
    else:
        ctx.fail("Give --config FILE or --admin HOST:PORT.")
    if as_json:
        print_json(document)
    else:
        click.echo(render(document))
    ctx.exit(ALLOWED if document["allowed"] else DENIED)


def _ask_gateway(ctx: click.Context, admin: Address, question: dict[str, str | None]) -> dict[str, Any]:
    try:
        return open_client(admin).fetch_permission(**question)
    except AdminRequestFailed as error:
        _give_up(ctx, error)


def _ask_settings(ctx: click.Context, config: Path, question: dict[str, str | None]) -> dict[str, Any]:
    from invoke_gateway.policy.permissions.question import AccessQuestion, BadQuestion
    from invoke_gateway.server.permission_answers import answer_by_settings

    overrides, problems = flags.collect(flags.all_flags(), {}, (), os.environ)
    try:
        settings = load(config, overrides, problems)
    except SettingsError as error:
        report(error)
        ctx.exit(UNDECIDED)
    given: dict[str, Any] = {key: value for key, value in question.items() if value is not None}
    try:
        return answer_by_settings(settings, AccessQuestion(**given))
    except BadQuestion as error:
        _give_up(ctx, error)


def _give_up(ctx: click.Context, error: Exception) -> NoReturn:
    click.echo(f"invoke-gateway: {error}", err=True)
    ctx.exit(UNDECIDED)


def render(document: dict[str, Any]) -> str:
    """Returns the decision in lines."""
    if not document["allowed"]:
        lines = ["denied", f"  {printable(document['message'])}"]
    else:
        what = f"{document['action']} on {document['resource']}"
        lines = ["allowed", f"  {printable(document['user'])}: {printable(what)}"]
    if not document["statements"]:
        lines.append(f"  cause: {printable(document['cause'])}")
    for one in document["statements"]:
        sid = f" ({one['sid']})" if one["sid"] else ""
        lines.append(f"  {one['effect']} by {printable(one['policy'])}, statement {one['statement']}{printable(sid)}")
    return "\n".join(lines)
