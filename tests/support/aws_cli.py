"""Runs the AWS CLI in the process of a test: its start takes ten times as long as a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awscli
import pytest
from awscli.clidriver import create_clidriver

_DATA = Path(awscli.__file__).parent / "data"  # awscli names it once, when it is imported; another test may drop it


def make_aws_cli(patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Any:
    """Returns the CLI's driver, with no settings but those of `environment` as long as the patch lasts."""
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            patch.delenv(name)
    for name, value in {**environment, "AWS_DATA_PATH": str(_DATA)}.items():
        patch.setenv(name, value)
    return create_clidriver()
