"""Prints what a program finds when it begins, as JSON: `python -m tests.support.surroundings ARGUMENT…`."""

from __future__ import annotations

import gc
import io
import json
import locale
import os
import resource
import signal
import sys
import threading
from typing import Any


def describe_stream(stream: io.TextIOWrapper) -> dict[str, Any]:
    return {
        "number": stream.fileno(),
        "name": stream.name,
        "encoding": stream.encoding,
        "errors": stream.errors,
        "mode": stream.mode,
        "newlines": stream.newlines,
        "line_buffering": stream.line_buffering,
        "write_through": stream.write_through,
        "buffer": type(stream.buffer).__name__,
    }


def describe() -> dict[str, Any]:
    main = sys.modules["__main__"]
    umask = os.umask(0)
    os.umask(umask)
    streams, originals = (sys.stdin, sys.stdout, sys.stderr), (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    own = {"main": main.__name__, "file": getattr(main, "__file__", None), "package": main.__package__}
    return {
        **own,
        "spec": main.__spec__.name if main.__spec__ else None,  # neither file nor specification: `python -c`
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "executable": sys.executable,
        "path": sys.path,
        "flags": repr(sys.flags),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "parent": os.getppid(),
        "session": os.getsid(0) if os.getsid(0) != os.getpid() else "its own",
        "group": os.getpgrp() if os.getpgrp() != os.getpid() else "its own",
        "umask": umask,
        "limits": [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")],
        "files": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")),
        "streams": [describe_stream(stream) for stream in streams],
        "originals": [stream is original for stream, original in zip(streams, originals, strict=True)],
        "input": sys.stdin.read(),
        "handlers": {number.name: str(signal.getsignal(number)) for number in signal.Signals},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "threads": [thread.name for thread in threading.enumerate()],
        "is_main_thread": threading.get_native_id() == os.getpid(),
        "locale": locale.setlocale(locale.LC_ALL),
        "encoding_of_names": sys.getfilesystemencoding(),
        "collector": gc.isenabled(),
        "recursion": sys.getrecursionlimit(),
        "tracing": [sys.gettrace() is None, sys.getprofile() is None],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(describe()))
