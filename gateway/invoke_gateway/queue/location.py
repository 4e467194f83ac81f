"""Chooses the file or folder of the queue where `async.store` is not set."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from secrets import token_hex

from ..policy.store_url import find_file_path
from ..state_folder import NoStateFolder, find_state_folder
from .base import CannotOpen


def find_file(url: str | None, port: int, *, is_demo: bool = False) -> tuple[Path, bool]:
    """Returns the file of a sqlite:// URL, or of the gateway that listens on `port`, and whether the file is temporary.

    The file is temporary on a free port, which differs at each start, and for events of the demo backend. Raises
    `CannotOpen`.
    """
    if url is not None:
        try:
            return Path(find_file_path(url)), False
        except ValueError as error:
            raise CannotOpen(f"async.store: the URL {url} names no file: {error}.") from None
    if is_demo or not port:
        folder = Path(tempfile.gettempdir()) / f"invoke-gateway-{os.getpid()}-{token_hex(4)}"
        return folder / "events.db", True
    return _state_folder() / f"events-{port}.db", False


def find_folder(port: int, *, is_demo: bool = False) -> tuple[Path, bool]:
    """Returns the folder for the store of the workers that listen on `port`, and whether it is temporary, as a file of
    events would be. Raises `CannotOpen`."""
    file, is_temporary = find_file(None, port, is_demo=is_demo)
    return (file.parent if is_temporary else file.with_name(f"workers-{port}")), is_temporary


def _state_folder() -> Path:
    try:
        return find_state_folder()
    except NoStateFolder as error:
        action = "Set HOME or XDG_STATE_HOME, or async.store to sqlite:///a/path/that/stays"
        raise CannotOpen(f"{error} for the queue's file. {action}.") from None
