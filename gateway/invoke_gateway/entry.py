"""Runs a command of the command line, from the first instruction of its process to its last.

It prepares what everything else relies on before anything heavy is imported: standard streams that are open, paths in
UTF-8, signals that are not lost. And it ends every command in the same way: an output that cannot be written is one
line and an exit status, never a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False  # that of `typing` takes longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM)
"""Signals that end a command. What it has begun, such as a hold, is taken back first."""

IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO)
"""Signals that mean nothing here. Others send them, such as SIGUSR1 to rotate a log, and their default is to kill."""


class Signals:
    """Handles the signals of this process until a serving gateway has an event loop.

    `was_hung_up`: SIGHUP came, by which a gateway reads its settings again."""

    def __init__(self) -> None:
        self.was_hung_up = False
        self._is_ending = False
        self._is_deferring = False
        self._pending: int | None = None

    def take(self, *, serves: bool) -> None:
        """Install the handlers. What the parent has set to be ignored, as `nohup` does, stays so."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in (*ENDING, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end_serving if serves else self._end)
        if serves:
            signal.signal(signal.SIGHUP, self._note_hang_up)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def ignore_all(self) -> None:
        """Ignore every signal from here on, so that none cuts the end of the process short."""
        for number in (*ENDING, *IGNORED, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals end the command after the block, not inside it. For what must not be left half done."""
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False
            pending, self._pending = self._pending, None
        if pending is not None:
            self._end(pending, None)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End a command. While it takes back what it has begun only Ctrl-C interrupts it: a service manager sends
        several signals, and a terminal that is closed too."""
        if self._is_deferring:
            self._pending = self._pending or number
            return
        was_ending, self._is_ending = self._is_ending, True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not was_ending:
            raise SystemExit(128 + number)

    def _end_serving(self, number: int, frame: FrameType | None) -> None:
        """End a gateway that does not serve yet: there is nothing to drain."""
        raise SystemExit(0)

    def _note_hang_up(self, number: int, frame: FrameType | None) -> None:
        self.was_hung_up = True


signals = Signals()
"""Holds the signals of this process: signals have no other owner."""


def open_standard_streams() -> None:
    """Open those of the three standard streams that are closed, on the null device: else the next sockets get their
    numbers, and what is meant for a log goes to a client."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 (open as long as the process)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (as above)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 (as above)


def write_everything() -> None:
    """Let no letter be an error: what an encoding has no place for is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # those of a process can


def use_utf8() -> None:
    """Begin again with paths in UTF-8 where the locale has another encoding for them. Settings files are UTF-8, so a
    path in one could not be opened."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # of workers too
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def prepare_worker() -> None:
    """Prepare a process that a gateway has started for itself. SIGHUP is for its supervisor."""
    open_standard_streams()
    signals.take(serves=True)


def main() -> NoReturn:
    """Run the command that the arguments name, and exit."""
    open_standard_streams()
    signals.take(serves=sys.argv[1:2] == ["serve"])
    use_utf8()
    write_everything()
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
    """Exit with the status that `run` returns, or with that of how it ended."""
    status: object
    try:
        status = run()
        sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # `| head` has what it wanted
        status = FAILED
    except OSError as error:
        status = FAILED
        _complain(error)
    _let_go_of_streams()
    sys.exit(status)


def _complain(error: OSError) -> None:
    where = f" ({error.filename})" if error.filename else ""
    with contextlib.suppress(OSError):
        print(f"invoke-gateway: the output cannot be written: {error.strerror or error}{where}", file=sys.stderr)


def _let_go_of_streams() -> None:
    """Write what is left, so that the interpreter finds nothing to fail at when it ends."""
    for stream, file in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, file)
            os.close(null)
