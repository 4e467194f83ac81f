"""Serves FOLDER/settings.json until the parent ends: `python -m invoke_gateway.testing.child FOLDER`.

The parent holds the other end of the standard input and never writes to it. When the parent ends, the kernel closes
that end, so that no crash of a test run leaves a gateway behind. The gateway stores nothing outside FOLDER, where its
events are too, and exits at once.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from threading import Thread

from invoke_gateway.cli.main import main
from invoke_gateway.settings import PREFIX


def end_with_parent(folder: Path) -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock this thread would still have when the interpreter ends
        pass
    shutil.rmtree(folder, ignore_errors=True)  # its parent may be about to do the same
    os._exit(0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    Thread(target=end_with_parent, args=[folder], daemon=True).start()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # settings for another gateway: they would replace those of the test
    # Events are stored in one of these, unless the test has a store of its own. They end with the folder, and never
    # reach the file of a gateway that the developer uses.
    os.environ["XDG_STATE_HOME"] = tempfile.tempdir = str(folder)
    main(["serve", "--config", str(folder / "settings.json")], prog_name="invoke-gateway")
