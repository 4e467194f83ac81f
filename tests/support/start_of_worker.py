"""Starts a process as a supervisor starts its workers, and prints what both find, as JSON.

`python -m tests.support.start_of_worker serve --workers`, by which a fork server knows a gateway with workers.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import sys
from pathlib import Path

NUMBER = 50  # of a descriptor, which is free however the supervisor was started
CODE = f"""import json, sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.support.surroundings import describe
print(json.dumps(describe()), flush=True)
sys.exit(3)
"""


async def start() -> None:
    os.environ["SET_BY_SUPERVISOR"] = "ä"
    os.umask(0o077)
    here, there = socket.socketpair()
    number = fcntl.fcntl(there, fcntl.F_DUPFD, NUMBER)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", CODE, str(number), "ä"),
        pass_fds=(number,),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    status = await process.wait()
    print(json.dumps({"supervisor": os.getpid(), "status": status, "kind": type(process).__name__}))
    here.close()
    there.close()


if __name__ == "__main__":
    asyncio.run(start())
