"""`python -m gateway.testing.child serve …`: the command, which ends when whoever started it does.

Its parent holds the other end of its standard input and never writes to it. When the parent ends, however it ends, the
kernel closes that end: no crash of a test run leaves a gateway behind. A gateway has nothing to put away, so it exits
at once.
"""

import os
from threading import Thread

from gateway import flags
from gateway.cli import main


def end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock this thread would still have when the interpreter ends
        pass
    os._exit(0)


if __name__ == "__main__":
    Thread(target=end_with_parent, daemon=True).start()
    for name in [name for name in os.environ if name.startswith(flags.PREFIX)]:
        del os.environ[name]  # settings for another gateway: they would go over those of the test
    main(prog_name="invoke-gateway")
