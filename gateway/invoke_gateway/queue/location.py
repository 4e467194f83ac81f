"""Where a gateway keeps its events when it is not told."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from secrets import token_hex

from ..policy.store_url import find_file_path
from .base import CannotOpen


def find_file(url: str | None, port: int, *, is_demo: bool = False) -> tuple[Path, bool]:
    """The file of a sqlite:// URL, or of the gateway that listens on `port`; and whether it is to be removed at the
    end: a gateway on a free port is another one each time, and events for the demo backend are worth nothing later.
    Raises `CannotOpen`."""
    if url is not None:
        try:
            return Path(find_file_path(url)), False
        except ValueError as error:
            raise CannotOpen(f"The URL {url} names no file: {error}.") from None
    if is_demo or not port:
        folder = Path(tempfile.gettempdir()) / f"invoke-gateway-{os.getpid()}-{token_hex(4)}"
        return folder / "events.db", True
    return _state_folder() / f"events-{port}.db", False


def _state_folder() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "invoke-gateway"
    try:
        return Path.home() / ".local" / "state" / "invoke-gateway"
    except RuntimeError:
        cure = "set HOME or XDG_STATE_HOME, or async.store to sqlite:///a/path/that/stays"
        raise CannotOpen(f"No home folder to keep events in: {cure}.") from None
