"""Runs the command without boto3, whatever the machine has installed: `python -m tests.settings.without_boto3 …`."""

import sys

from invoke_gateway.cli.main import main

if __name__ == "__main__":
    sys.modules["boto3"] = None  # type: ignore[assignment]  # as Python marks a module that must not be imported
    main()
