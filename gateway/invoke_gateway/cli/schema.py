"""Prints the JSON Schema of the settings file: `invoke-gateway schema`."""

import click

from invoke_gateway.settings import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the file."""
    click.echo(json_schema(), nl=False)
