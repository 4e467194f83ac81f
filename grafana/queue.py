"""*Queue*: asynchronous invocations, from their 202 to their end."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from .panels import GREEN, RED, YELLOW, Query, choice, lines, make_dashboard, single
from .sharing import GATEWAYS

ACCOUNT = 'account=~"$account"'
ACCOUNTS = f"{GATEWAYS}, {ACCOUNT}"
BY_FUNCTION = "account, function"
_OURS = f"and on (job, store) instance_store:invoke_gateway_async_store:info{{{GATEWAYS}}}"


def depth(by: str, states: str = ".+") -> str:
    """Events in these states, summed over the stores that gateways share, of which each counts once."""
    name = "store_account_function_state:invoke_gateway_async_events:depth"
    return f'sum by ({by}) ({name}{{job="$job", {ACCOUNT}, state=~"{states}"}} {_OURS})'


def rate(counter: str, by: str) -> str:
    return f"sum by ({by}) (rate(invoke_gateway_{counter}{{{ACCOUNTS}}}[$__rate_interval]))"


def increase(counter: str) -> str:
    return f"sum(increase(invoke_gateway_{counter}{{{ACCOUNTS}}}[$__range]))"


def age(share: float) -> str:
    return f"histogram_quantile({share}, {rate('async_event_age_seconds_bucket', 'le')})"


OLDEST = f'store_account:invoke_gateway_async_oldest_event_age_seconds:max{{job="$job", {ACCOUNT}}} {_OURS}'

AT_A_GLANCE = [
    single(
        "Waiting",
        "Events that are still to be run, or run again.",
        units.Short,
        Query(f"sum({depth('account', 'waiting|retrying')})", "waiting"),
        no_value="none",
    ),
    single(
        "Running",
        "Events that are run now; they are in flight as every call.",
        units.Short,
        Query(f"sum({depth('account', 'running')})", "running"),
        no_value="none",
    ),
    single(
        "Oldest",
        "Age of the oldest event that is still to be run. It may be as old as maximum_event_age_seconds.",
        units.Seconds,
        Query(f"max({OLDEST})", "oldest"),
        steps=((300, YELLOW), (900, RED)),
        no_value="none",
    ),
    single(
        "Undelivered",
        "Events whose dead-letter queue or destination has failed too often: `invoke-gateway queue list --state "
        "undelivered`.",
        units.Short,
        Query(f"sum({depth('account', 'undelivered')})", "undelivered"),
        steps=((1, RED),),
        no_value="none",
    ),
    single(
        "Received",
        "Events a second that were answered with 202. CloudWatch: AsyncEventsReceived.",
        units.RequestsPerSecond,
        Query(f"sum({rate('async_events_received_total', 'account')})", "received"),
        no_value="none",
    ),
    single(
        "Dropped",
        "Events that ended without a successful run, within the time that is shown. CloudWatch: AsyncEventsDropped.",
        units.Short,
        Query(increase("async_events_dropped_total"), "dropped"),
        steps=((1, RED),),
        no_value="none",
    ),
    single(
        "Age, p99",
        "99 of 100 runs began no later than this after the event's 202. CloudWatch: AsyncEventAge.",
        units.Seconds,
        Query(age(0.99), "p99"),
        no_value="no runs",
    ),
    single(
        "Store",
        "Whether events can be kept. Where not, they are refused with status 500.",
        units.NoUnit,
        Query(f'max(invoke_gateway_degraded{{{GATEWAYS}, cause="event_store"}})', "store"),
        words={"0": ("keeps", GREEN), "1": ("cannot keep", RED)},
        steps=((1, RED),),
        no_value="no queue",
    ),
]

DEPTH = [
    lines(
        "Events by state",
        "Waiting: before the first run. Retrying: before a retry. Delivering: ended, its outcome is being sent.",
        units.Short,
        Query(depth("state"), "{{state}}"),
        stacked=True,
    ),
    lines(
        "Longest queues",
        "Events that are still to be run, of the ten functions that have most. A click leads to the function.",
        units.Short,
        Query(f"topk(10, {depth(BY_FUNCTION, 'waiting|retrying')})", "{{function}} ({{account}})"),
        to_function=True,
    ),
    lines(
        "Oldest event",
        "Age of the oldest event that is still to be run, by account and store.",
        units.Seconds,
        Query(OLDEST, "{{account}} at {{store}}"),
        steps=((900, RED),),
    ),
    lines(
        "Age at the run",
        "How long after its 202 an event was run, each of its runs counted. CloudWatch: AsyncEventAge.",
        units.Seconds,
        *(Query(age(share), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
    ),
]

FATE = [
    lines(
        "Received, run and dropped",
        "Events a second. More received than run and dropped: the queue grows. Retries are runs as well.",
        units.RequestsPerSecond,
        Query(f"sum({rate('async_events_received_total', 'account')})", "received"),
        Query(f"sum({rate('async_event_age_seconds_count', 'account')})", "run"),
        Query(f"sum({rate('async_events_dropped_total', 'account')})", "dropped"),
    ),
    lines(
        "Dropped by condition",
        "Events a second that ended without a successful run, also those that a dead-letter queue or destination took.",
        units.RequestsPerSecond,
        Query(rate("async_events_dropped_total", "condition"), "{{condition}}"),
        stacked=True,
    ),
    lines(
        "Retries by cause",
        "Times a second that an event went back: its function failed (error), no slot was free (throttle), the backend "
        "failed or was away (system).",
        units.RequestsPerSecond,
        Query(rate("async_event_retries_total", "cause"), "{{cause}}"),
        stacked=True,
    ),
    lines(
        "Most drops",
        "Drops a second of the ten functions that have most. A click leads to the function.",
        units.RequestsPerSecond,
        Query(f"topk(10, {rate('async_events_dropped_total', BY_FUNCTION)})", "{{function}} ({{account}})"),
        to_function=True,
    ),
]

DELIVERIES = [
    lines(
        "Given up",
        "Messages and records a second that no try could deliver. CloudWatch: DeadLetterErrors, "
        "DestinationDeliveryFailures.",
        units.RequestsPerSecond,
        Query(f"sum({rate('dead_letter_errors_total', 'account')})", "dead-letter queue"),
        Query(rate("destination_delivery_failures_total", "kind"), "{{kind}}"),
        stacked=True,
    ),
    lines(
        "Undelivered by function",
        "Events that wait for `invoke-gateway queue retry` or `drop`. A click leads to the function.",
        units.Short,
        Query(f"topk(10, {depth(BY_FUNCTION, 'undelivered')})", "{{function}} ({{account}})"),
        to_function=True,
        steps=((1, RED),),
    ),
]


def make_queue() -> Dashboard:
    return make_dashboard(
        "invoke-gateway-queue",
        "Invoke Gateway: queue",
        "Asynchronous invocations: what waits, for how long, what becomes of it, and what could not be delivered.",
        [choice("account", "Account", f"invoke_gateway_concurrent_executions_limit{{{GATEWAYS}}}", several=True)],
        [("", AT_A_GLANCE), ("What waits", DEPTH), ("What becomes of it", FATE), ("Deliveries", DELIVERIES)],
    )
