"""Limits, of which each counts once however many gateways hold it together; and what is shown of the store.

Which gateways count together is found out by recordings in rules.yml, which the alerts go by as well.
"""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from .panels import RED, Query, lines

STORES = "instance_store:invoke_gateway_counters:info"
GATEWAYS = 'job="$job", instance=~"$instance"'
OURS = f"{{{GATEWAYS}}}"


def sum_limits(name: str, by: str, matchers: str) -> str:
    """A limit of each account, or of each account and function, summed over the stores where gateways that are chosen
    count."""
    recording = f"store_{by.replace(', ', '_')}:invoke_gateway_{name}:max"
    return f'sum by ({by}) ({recording}{{job="$job", {matchers}}} and on (job, store) {STORES}{OURS})'


def _rate(counter: str, by: str = "instance") -> str:
    return f"sum by ({by}) (rate(invoke_gateway_{counter}{OURS}[$__rate_interval]))"


BATCHES = _rate("store_batches_total")
ANY_BATCHES = f"({BATCHES} > 0)"

STORE = [
    lines(
        "Gateways that share counters",
        "How many gateways each store knows, by the one that knows of fewest, and how many Prometheus knows there. A "
        "gateway that counts by itself is its own store.",
        units.Short,
        Query(
            f'store:invoke_gateway_gateways:min{{job="$job"}} and on (job, store) {STORES}{OURS}',
            "share {{store}}",
        ),
        Query(f'store:invoke_gateway_gateways:count{{job="$job"}} and on (job, store) {STORES}{OURS}', "at {{store}}"),
    ),
    lines(
        "Trouble with the store",
        "1 while degraded, by cause. store_unavailable: the store does not answer. store_recovering: its counters are "
        "being rebuilt after a restart. limits_mismatch: gateways that share the store have different limits.",
        units.Short,
        Query(
            f'invoke_gateway_degraded{{{GATEWAYS}, cause=~"store_.+|limits_mismatch"}}',
            "{{cause}} {{instance}}",
        ),
        highest=1,
    ),
    lines(
        "Round trips to the store",
        "Batches a second, by gateway: whatever there is to say while one is under way goes with the next.",
        units.RequestsPerSecond,
        Query(BATCHES, "{{instance}}"),
    ),
    lines(
        "Seconds per round trip",
        "The mean, by gateway. A call waits for two at most. The bound is shared.store_timeout_seconds.",
        units.Seconds,
        Query(f"{_rate('store_seconds_total')} / {ANY_BATCHES}", "{{instance}}"),
    ),
    lines(
        "Calls per round trip",
        "Calls for which one batch requests slots; a batch also carries released slots.",
        units.Short,
        Query(f"{_rate('store_acquires_total')} / {ANY_BATCHES}", "{{instance}}"),
    ),
    lines(
        "Failures of the store",
        "Round trips a second that failed or took too long, by gateway.",
        units.RequestsPerSecond,
        Query(_rate("store_failures_total"), "{{instance}}"),
        stacked=True,
        steps=((0.1, RED),),
    ),
    lines(
        "Calls decided without the store",
        "Calls a second that were decided locally while the store was unavailable, by decision: see "
        "shared.on_store_failure.",
        units.RequestsPerSecond,
        Query(_rate("store_fallback_total", "decision"), "{{decision}}"),
        stacked=True,
    ),
    lines(
        "In flight by store",
        "Slots in use over all gateways of a store, and the limits of all of its accounts together.",
        units.Short,
        Query(
            'sum by (store) (store_account_function:invoke_gateway_concurrent_executions:sum{job="$job"}'
            f" and on (job, store) {STORES}{OURS})",
            "in flight {{store}}",
        ),
        Query(
            'sum by (store) (store_account:invoke_gateway_concurrent_executions_limit:max{job="$job"}'
            f" and on (job, store) {STORES}{OURS})",
            "limit {{store}}",
        ),
    ),
]
