"""Explains old names of commands and flags: each error names the new one."""

from __future__ import annotations

import click

from invoke_gateway.settings.renamed import renamed_flags

COMMANDS = {"holders": "in-flight"}

FLAGS = renamed_flags() | {"--no-access-log": "--access-log FILE, or no flag for no access log"}
"""Old flags of any command."""

FLAGS_OF_COMMANDS = {
    ("release", flag): f"invoke-gateway in-flight release {flag}" for flag in ("--gateway", "--account", "--force")
}
"""Old flags of one command."""


def explain_flag(error: click.NoSuchOption) -> click.UsageError:
    """Returns the error for a flag that was renamed; `error` itself for every other."""
    command = error.ctx.info_name if error.ctx is not None else None
    new = FLAGS_OF_COMMANDS.get((command or "", error.option_name)) or FLAGS.get(error.option_name)
    return error if new is None else click.UsageError(f"{error.option_name} was renamed: use {new}.", error.ctx)


def explain_command(name: str) -> str | None:
    """Returns the text for a command that was renamed, None for every other."""
    new = COMMANDS.get(name)
    return None if new is None else f"The command {name} was renamed: use invoke-gateway {new}."
