"""Names the errors of a Redis or Valkey that callers catch, and words them for logs."""

from __future__ import annotations


class StoreUnavailable(Exception):
    """The store returned no reply, or a reply that cannot be used. The text has the cause."""


class StoreUnusable(StoreUnavailable):
    """The store cannot be used until an operator corrects its address, its rights or its settings."""


def describe_failure(error: Exception, timeout_seconds: float) -> str:
    """Returns the cause. A `TimeoutError`, which has no text, is described by its bound."""
    return str(error) or f"no answer within {timeout_seconds:g} s"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, or the name of its class where the text is empty."""
    return (str(error) or type(error).__name__).splitlines()[0]
