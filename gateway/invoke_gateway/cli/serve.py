"""Runs the gateway: `invoke-gateway serve`, whose options are the keys of the settings."""

import functools
import gc
import os
from pathlib import Path
from typing import Any

import click

from invoke_gateway.cli.output.problems import report
from invoke_gateway.settings import SettingsError, flags, load


class Serve(click.Command):
    """Shows the many options of `serve` under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {flag.parameter: flag.section for flag in flags.all_flags()} | {"reserve": "Limits"}
        titles = ["Settings file", *(title for title, _ in flags.SECTIONS), flags.LAST_SECTION, "Other"]
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Settings file" if parameter.name == "config" else "Other"
                rows[sections.get(parameter.name or "", default)].append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=36)


@click.pass_context
def _serve(ctx: click.Context, /, config: Path | None, reserve: tuple[str, ...], **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Every key of the settings file is also a flag, and an environment variable: INVOKE_GATEWAY_ and the flag's
    name in capitals with underscores (INVOKE_GATEWAY_BACKEND, INVOKE_GATEWAY_READ_TIMEOUT_SECONDS,
    INVOKE_GATEWAY_RESERVE="checkout=2,report=0"). Flags take precedence over the
    environment, and the environment over the file.
    """
    # Here, so that the other commands need not load the server.
    from invoke_gateway.server.run import run
    from invoke_gateway.server.startup_checks import find_mistakes

    gc.freeze()  # what modules made is no garbage: the collection before the first call need not go through it
    overrides, problems = flags.collect(flags.all_flags(), given, reserve, os.environ)
    try:
        settings = load(config, overrides, problems, find_more=find_mistakes)
    except SettingsError as error:
        ctx.exit(report(error))
    reload = functools.partial(load, config, overrides, find_more=find_mistakes)
    run = functools.partial(run, settings, reload=reload, config=config)
    if settings.workers == 1:
        ctx.exit(run())
    from invoke_gateway.workers.supervisor import running_workers

    ctx.exit(run(serve=running_workers))


def _make_command() -> click.Command:
    config = click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        envvar=flags.CONFIG_VARIABLE,
        metavar="FILE",
        help="YAML file of settings; JSON when its name ends in .json.",
    )
    reserve = click.Option(
        ["--reserve"],
        multiple=True,
        metavar="NAME=N,…",
        help="Slots reserved for functions of the default account, which are also their ceilings; may be repeated.",
    )
    options: list[click.Parameter] = [config, reserve, *(flag.option() for flag in flags.all_flags())]
    return Serve("serve", callback=_serve, params=options, help=_serve.__doc__)


serve = _make_command()
