"""Invoke Gateway: AWS Lambda's admission rules in front of any Invoke backend."""

__version__: str


def __getattr__(name: str) -> str:
    """Read the version when it is wanted: that takes longer than all else that precedes the first signal handler."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version

    return version("invoke-gateway")
