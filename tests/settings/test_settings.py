"""The package of the settings: each name is loaded at its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from invoke_gateway import settings


def test_it_has_every_name_of_its_list_and_no_other() -> None:
    assert all(getattr(settings, name) is not None for name in settings.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(settings, "Nothing")  # noqa: B009 (a type checker refuses the name)


@pytest.mark.parametrize("command", ["hold", "in_flight", "limits", "queue", "release", "status"])
def test_a_command_that_needs_an_address_loads_no_models(command: str) -> None:
    code = f"import sys, invoke_gateway.cli.{command}; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
