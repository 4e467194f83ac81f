"""Handles the signals of this process, from its first instruction until a serving gateway has an event loop."""

from __future__ import annotations

import contextlib
import signal

TYPE_CHECKING = False  # `typing` takes longer to import than everything else here
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM)
"""Signals that end a command. The command first undoes its work, such as a hold."""

IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO)
"""Signals without a meaning here. Tools send them, such as SIGUSR1 to rotate a log, and their default is to kill."""


class Signals:
    """Handles the signals of this process until a serving gateway has an event loop.

    was_hung_up: SIGHUP has arrived, which reloads the settings
    """

    def __init__(self) -> None:
        self.was_hung_up = False
        self._is_ending = False
        self._is_deferring = False
        self._pending: int | None = None

    def take(self, *, serves: bool) -> None:
        """Installs the handlers. A signal that the parent has set to be ignored, as `nohup` does, stays ignored."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in (*ENDING, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end_serving if serves else self._end)
        if serves:
            signal.signal(signal.SIGHUP, self._record_hang_up)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def ignore_all(self) -> None:
        """Ignores every signal from here on, so that none interrupts the end of the process."""
        for number in (*ENDING, *IGNORED, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets signals end the command after the block, not inside it: the block must not be left half done."""
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False
            pending, self._pending = self._pending, None
        if pending is not None:
            self._end(pending, None)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Ends a command. While it undoes its work, only Ctrl-C interrupts it.

        A service manager sends several signals, and so does a terminal that is closed.
        """
        if self._is_deferring:
            self._pending = self._pending or number
            return
        was_ending, self._is_ending = self._is_ending, True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not was_ending:
            raise SystemExit(128 + number)

    def _end_serving(self, number: int, frame: FrameType | None) -> None:
        """Ends a gateway that does not serve yet: there is nothing to drain."""
        raise SystemExit(0)

    def _record_hang_up(self, number: int, frame: FrameType | None) -> None:
        self.was_hung_up = True


signals = Signals()
"""Owns the signals of this process."""
