"""Runs a command of the command line, from the first instruction of its process to its last.

Before anything heavy is imported, standard streams are opened, paths are UTF-8, and signals are handled. Every command
ends in the same way: an output that cannot be written is one line and an exit status, never a traceback.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys

from invoke_gateway.signals import signals

TYPE_CHECKING = False  # `typing` takes longer to import than everything else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
_GC_THRESHOLD = (
    200_000  # objects; a start makes half as many. What modules create is no garbage, so none is looked for.
)


def open_standard_streams() -> None:
    """Opens closed standard streams on the null device.

    Else the next sockets would get the numbers of these streams, and lines for the log would be sent to a client.
    """
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 (open as long as the process)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (as above)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 (as above)


def escape_unencodable() -> None:
    """Writes characters outside the encoding of a stream as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # those of a process can


def use_utf8() -> None:
    """Restarts the command with paths in UTF-8 where the locale has another encoding for them.

    Settings files are UTF-8, so a path in one could not be opened.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # of workers too
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def prepare_worker() -> None:
    """Prepares a process that a gateway has started for itself. SIGHUP is for its supervisor."""
    gc.set_threshold(_GC_THRESHOLD)
    open_standard_streams()
    signals.take(serves=True)


def main() -> NoReturn:
    """Runs the command that the arguments name, and exits."""
    gc.set_threshold(_GC_THRESHOLD)
    open_standard_streams()
    signals.take(serves=sys.argv[1:2] == ["serve"])
    use_utf8()
    escape_unencodable()
    end_with(lambda: _run_command(sys.argv[1:]))


def _run_command(arguments: list[str]) -> int:
    import click

    from invoke_gateway.cli.main import main as command

    try:
        status = command.main(arguments, prog_name="invoke-gateway", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def end_with(run: Callable[[], int]) -> NoReturn:
    """Exits with the status that `run` returns, or with the status of how `run` ended."""
    status: object
    try:
        status = run()
        sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough
        status = FAILED
    except OSError as error:
        status = FAILED
        _complain(error)
    _flush_streams()
    signals.ignore_all()  # a second signal would end the interpreter by its default, while it is shut down
    sys.exit(status)


def _complain(error: OSError) -> None:
    where = f" ({error.filename})" if error.filename else ""
    with contextlib.suppress(OSError):
        print(f"invoke-gateway: the output cannot be written: {error.strerror or error}{where}", file=sys.stderr)


def _flush_streams() -> None:
    """Flushes the streams, so that the interpreter has nothing to fail at when it ends."""
    for stream, file in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, file)
            os.close(null)
