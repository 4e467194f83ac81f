"""Finds the command that the arguments name. Each command is loaded only when it runs, or when all are listed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from invoke_gateway.cli.examples import add_examples

EXAMPLE = """\b
Try it with the embedded demo backend:
  invoke-gateway serve --backend demo --concurrent-executions 10 --reserve sleep=2
  aws lambda invoke --endpoint-url http://127.0.0.1:9001 --function-name echo out.json
\b
In front of a backend that speaks AWS Lambda's Invoke API:
  invoke-gateway serve --backend http://127.0.0.1:4566 --concurrent-executions 10
"""


COMMANDS = (
    "check",
    "control",
    "fault",
    "hold",
    "in-flight",
    "limits",
    "may",
    "prove",
    "queue",
    "release",
    "schema",
    "serve",
    "status",
)
"""All commands. Each stands in the file of its name, but for `prove`."""


class Commands(click.Group):
    """Finds commands by name, and names the new name of an old one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "prove":
            from invoke_gateway.chaos.command import prove as command
        else:
            name = cmd_name.replace("-", "_")
            command = getattr(import_module(f"invoke_gateway.cli.{name}"), name)
        add_examples(cmd_name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            from invoke_gateway.cli.renamed import explain_command

            if (renamed := explain_command(args[0])) is not None:
                ctx.fail(renamed)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            from invoke_gateway.cli.renamed import explain_flag

            raise explain_flag(error) from None


def _is_compiled() -> bool:
    """Returns whether the modules on the way of a call are compiled (gateway/build_compiled.py)."""
    from importlib.util import find_spec  # here: only this option needs it

    spec = find_spec("invoke_gateway.asgi")
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from invoke_gateway import __version__  # here: reading it loads much

        click.echo(f"invoke-gateway, version {__version__}{' (compiled)' if _is_compiled() else ''}")
        ctx.exit()


@click.group(
    cls=Commands, epilog=EXAMPLE, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """AWS Lambda's concurrency, rate and payload quotas in front of any Invoke backend."""
