"""Runs a server that ends when its parent does, also when that is killed: `server_guard.py PARENT PROGRAM ARGUMENT…`.

It is run by its path and imports the standard library only. On Linux this process becomes the server, which the kernel
ends. Elsewhere this process stays, and ends the server when standard input ends, whose other end the parent has.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    """Becomes the server. Linux sends it SIGKILL when its parent has ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)
    os.execv(command[0], command)


def watch(command: list[str]) -> None:
    """Runs the server until it ends, or standard input does."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())

    def end_with_input() -> None:
        os.read(0, 1)
        server.kill()

    threading.Thread(target=end_with_input, daemon=True).start()
    status = server.wait()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    if sys.platform == "linux" and "INVOKE_GATEWAY_GUARD_WATCHES" not in os.environ:
        become(int(sys.argv[1]), sys.argv[2:])
    watch(sys.argv[2:])
