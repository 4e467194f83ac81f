"""Links the stages of the chain, and makes those that are present only with some settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..asgi import App
from ..middleware.fault_injection import FaultInjection
from ..policy.fault_script import FaultScripts
from ..settings import Settings
from ..telemetry.totals import Totals

Stages = list[partial[Any]]
"""Holds stages in running order. Each takes the stage behind it as its first argument."""


def link_stages(stages: Stages, last: App) -> App:
    """Returns the first stage of a chain that ends with `last`."""
    app = last
    for stage in reversed(stages):
        app = stage(app)
    return app


def inject_faults(settings: Settings, scripts: FaultScripts | None, totals: Totals) -> Stages:
    """Returns the stage that injects errors, where fault scripts are accepted."""
    if scripts is None:
        return []
    stage = partial(
        FaultInjection,
        scripts=scripts,
        on_injected=totals.record_injected,
        region=settings.region,
        decision_header=settings.decision_header,
    )
    return [stage]
