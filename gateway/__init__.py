"""Invoke Gateway: AWS Lambda's admission rules in front of any Invoke backend."""

from importlib.metadata import version

__version__ = version("invoke-gateway")
