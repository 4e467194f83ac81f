"""Records each finished exchange once: in the totals, in the lists of refusals, and in the access log."""

from __future__ import annotations

from collections.abc import Callable

from ..asgi import Scope
from ..exchange import Exchange
from ..policy.concurrency import LimitReached, Plan
from ..queue.runner import RUN
from ..telemetry.last_refusals import LastRefusals
from ..telemetry.logs.log import write_access_line
from ..telemetry.logs.summaries import RefusalSummary
from ..telemetry.totals import Totals


class ExchangeRecorder:
    """Records finished exchanges, those of runs of events among them.

    names_callers: lines of the access log name callers
    on_call_refused: called with the exhausted limit and the plan of a refused call; None if no queue needs it
    """

    def __init__(
        self, totals: Totals, last_refusals: LastRefusals, *, has_access_log: bool, names_callers: bool
    ) -> None:
        self.on_call_refused: Callable[[LimitReached, Plan], None] | None = None
        self._totals = totals
        self._last_refusals = last_refusals
        self._summary = RefusalSummary(totals)
        self._has_access_log = has_access_log
        self._names_callers = names_callers

    def record(self, exchange: Exchange, scope: Scope) -> None:
        self._totals.record(exchange)
        if exchange.refusal is not None:
            self._summary.record_refusal(exchange)
            if exchange.error_kind is None:  # else the backend failed, and nothing was refused
                self._last_refusals.record(exchange)
            full, plan = exchange.full, exchange.plan
            if full is not None and plan is not None and self.on_call_refused is not None and RUN not in scope:
                self.on_call_refused(full, plan)
        if self._has_access_log:
            write_access_line(exchange, scope, names_callers=self._names_callers)

    def close(self) -> None:
        """Logs the refusals that no summary has had yet."""
        self._summary.report()
