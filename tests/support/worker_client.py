"""Asks `worker_server.py` for a worker of xdist: `python worker_client.py ADDRESS -u -c CODE`.

The worker gets the streams of this process. execnet starts this process in place of `python -u -c CODE`. The process
ends with the worker. Where the server makes none, it becomes the worker.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    _, address, *options = sys.argv
    try:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(address)
        socket.send_fds(server, [options[-1].encode()], [0, 1, 2])
        has_worker = bool(server.recv(1))
    except OSError:
        has_worker = False
    if not has_worker:
        os.execv(sys.executable, [sys.executable, *options])
    for number in (0, 1):  # execnet sees the worker's end by these
        os.close(number)
    server.recv(1)


if __name__ == "__main__":
    main()
