"""`schema` prints the JSON Schema of the settings file."""

from invoke_gateway.settings import json_schema
from tests.cli.commands import invoke


def test_schema_prints_the_shipped_schema() -> None:
    assert invoke("schema").output == json_schema()
