"""Turns texts of the operating system, such as paths and host names, into texts that UTF-8 can hold."""

from __future__ import annotations

from typing import Any


def printable(text: str) -> str:
    r"""Returns the text with a `\xff` for each byte that is no UTF-8. Python holds such bytes as surrogates, and no
    file, answer or label can be written with those."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def printable_document(value: Any) -> Any:
    """Returns a document of JSON with every text treated so."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_document(key): printable_document(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [printable_document(member) for member in value]
    return value
