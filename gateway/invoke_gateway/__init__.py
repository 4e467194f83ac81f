"""Invoke Gateway: AWS Lambda's admission rules in front of any Invoke backend."""

__version__: str


def __getattr__(name: str) -> str:
    """Reads the version at its first use: this takes longer than all that precedes the first signal handler."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version

    return version("invoke-gateway")
