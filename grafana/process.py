"""*Gateway*: the health of the processes themselves, and of the backend as they see it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from .panels import FULL, GREEN, RED, YELLOW, Query, heat, lines, make_dashboard, single
from .sharing import STORE

GATEWAYS = '{job="$job", instance=~"$instance"}'


def rate(counter: str, by: str = "instance") -> str:
    return f"sum by ({by}) (rate({counter}{GATEWAYS}[$__rate_interval]))"


def ours(name: str) -> str:
    return f"invoke_gateway_{name}{GATEWAYS}"


def quantile(share: float, histogram: str, by: str = "instance, le") -> str:
    return f"histogram_quantile({share}, {rate(f'invoke_gateway_{histogram}_bucket', by)})"


CPU = f"{rate('process_cpu_seconds_total')} / on (instance) clamp_min({ours('workers')}, 1)"
FAILED = rate("invoke_gateway_upstream_errors_total")
# A gateway that has not had one invocation yet has no series of them.
ANSWERED = (
    f"({rate('invoke_gateway_passed_through_total')} + ({rate('invoke_gateway_invocations_total')}"
    f" or 0 * {rate('invoke_gateway_passed_through_total')}))"
)

AT_A_GLANCE = [
    single(
        "Version",
        "Of the gateway and of Python, by gateway.",
        units.NoUnit,
        Query(ours("build_info"), "{{version}} (Python {{python}})"),
        names=True,
    ),
    single(
        "Up for",
        "Time since the process started; of the youngest.",
        units.Seconds,
        Query(f"min(time() - process_start_time_seconds{GATEWAYS})", "up for"),
        no_value="down",
    ),
    single(
        "Degraded",
        "settings_invalid: the settings file has mistakes, and the old limits stay in force. restart_needed: it has "
        "changes that wait for a restart. store_unavailable, store_recovering, limits_mismatch: see Shared counters. "
        "event_store: see Queue. events_held: the store has events of another backend. backend_refuses_events: the "
        "backend refuses to run events until a setting is changed.",
        units.NoUnit,
        Query(f"max by (cause) ({ours('degraded')})", "{{cause}}"),
        words={"0": ("no", GREEN), "1": ("yes", RED)},
        steps=((1, RED),),
    ),
    single(
        "CPU",
        "Of one core for each process, which is all that it can use; of the busiest gateway.",
        units.PercentUnit,
        Query(f"max({CPU})", "cpu"),
        steps=FULL,
    ),
    single(
        "Event-loop lag, p99",
        "By how much the event loop wakes timers too late: so long every request waits. Of the slowest gateway.",
        units.Seconds,
        Query(f"max({quantile(0.99, 'event_loop_lag_seconds')})", "lag"),
        steps=((0.02, YELLOW), (0.1, RED)),
    ),
    single(
        "Memory",
        "Resident memory of the largest process.",
        units.BytesIEC,
        Query(f"max(process_resident_memory_bytes{GATEWAYS})", "resident"),
    ),
    single(
        "Buffers",
        "Share of buffer_bytes that payloads take; at 100 % requests get status 503. Of the fullest.",
        units.PercentUnit,
        Query(f"max({ours('buffered_bytes')} / {ours('buffered_bytes_limit')})", "buffered"),
        steps=((0.5, YELLOW), (0.8, RED)),
    ),
    single(
        "Backend errors",
        "Share of the requests that the backend did not answer; of the gateway that has most.",
        units.PercentUnit,
        Query(f"max({FAILED} / ({FAILED} + {ANSWERED} > 0))", "errors"),
        steps=((0.01, YELLOW), (0.05, RED)),
        no_value="no calls",
    ),
]

PROCESS = [
    lines(
        "CPU",
        "Of one core for each process, which is all that it can use: above 90 %, requests wait.",
        units.PercentUnit,
        Query(CPU, "{{instance}}"),
        steps=((0.9, RED),),
        highest=1,
    ),
    lines(
        "Memory",
        "Resident memory, and how much of it may be payloads.",
        units.BytesIEC,
        Query(f"process_resident_memory_bytes{GATEWAYS}", "resident {{instance}}"),
        Query(ours("buffered_bytes"), "payloads {{instance}}"),
        Query(ours("buffered_bytes_limit"), "limit of payloads {{instance}}"),
    ),
    heat(
        "Event-loop lag",
        "How late the event loop woke its timer, ten times a second: so long requests waited.",
        ours("event_loop_lag_seconds_bucket"),
    ),
    lines(
        "Event-loop lag, quantiles",
        "How late the event loop woke its timer, by gateway.",
        units.Seconds,
        Query(quantile(0.5, "event_loop_lag_seconds"), "p50 {{instance}}"),
        Query(quantile(0.99, "event_loop_lag_seconds"), "p99 {{instance}}"),
        steps=((0.1, RED),),
    ),
    lines(
        "Admission",
        "How long taking the slots and tokens took.",
        units.Seconds,
        Query(quantile(0.5, "admission_seconds"), "p50 {{instance}}"),
        Query(quantile(0.99, "admission_seconds"), "p99 {{instance}}"),
    ),
    lines(
        "Open files",
        "File descriptors: a call in flight needs two.",
        units.Short,
        Query(f"process_open_fds{GATEWAYS}", "open {{instance}}"),
        Query(f"process_max_fds{GATEWAYS}", "limit {{instance}}"),
    ),
    lines(
        "Workers",
        "Processes that serve the Invoke API.",
        units.Short,
        Query(ours("workers"), "{{instance}}"),
    ),
    lines(
        "Workers replaced",
        "Workers a second that took the place of one that had died.",
        units.Short,
        Query(rate("invoke_gateway_worker_replacements_total"), "{{instance}}"),
    ),
]

BACKEND = [
    lines(
        "Backend up",
        "1 while the backend accepts connections from a gateway, 0 while it does not.",
        units.Short,
        Query(ours("backend_up"), "{{instance}}"),
        span=8,
    ),
    lines(
        "Connections to the backend",
        "Busy ones carry a call; idle ones wait for the next.",
        units.Short,
        Query(f"sum by (instance, state) ({ours('upstream_connections')})", "{{state}} {{instance}}"),
        span=8,
        stacked=True,
    ),
    lines(
        "Backend errors by kind",
        "Requests a second that the backend did not answer; clients got status 500. The kinds: docs/runbook.md.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_upstream_errors_total", "kind"), "{{kind}}"),
        span=8,
        stacked=True,
    ),
]

DENIED = '{job="$job", instance=~"$instance", error="AccessDeniedException"}'
CALLERS = [
    lines(
        "Refused signatures by cause",
        "Requests a second without a valid signature (signatures: verify). The causes: docs/guides/signatures.md.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_signature_refusals_total", "cause"), "{{cause}}"),
        span=8,
        stacked=True,
    ),
    lines(
        "Access denied",
        "Requests a second of verified callers that no policy allows, by gateway: status 403, AccessDeniedException.",
        units.RequestsPerSecond,
        Query(f"sum by (instance) (rate(invoke_gateway_refusals_total{DENIED}[$__rate_interval]))", "{{instance}}"),
        span=8,
    ),
    lines(
        "Refused admin requests",
        "Requests a second to the admin listener without the right admin token, by reason.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_admin_requests_refused_total", "reason"), "{{reason}}"),
        span=8,
        stacked=True,
    ),
]

CLIENTS = [
    lines(
        "Clients that left",
        "Requests a second whose client left, or was cut off: during its request, or before the response was sent.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_client_disconnects_total", "phase"), "{{phase}}"),
        stacked=True,
    ),
    lines(
        "Other refusals by error",
        "Requests a second that were refused for another cause than a throttle.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_refusals_total", "error"), "{{error}}"),
        stacked=True,
    ),
    lines(
        "Passed through",
        "Requests a second that are no invocation, handed on as they came.",
        units.RequestsPerSecond,
        Query(rate("invoke_gateway_passed_through_total"), "{{instance}}"),
    ),
    lines(
        "Scrapes",
        "How long Prometheus took to read the metrics: it grows with the number of functions.",
        units.Seconds,
        Query(f"scrape_duration_seconds{GATEWAYS}", "{{instance}}"),
    ),
]


def make_gateway() -> Dashboard:
    return make_dashboard(
        "invoke-gateway-process",
        "Invoke Gateway: gateway",
        "The processes: CPU, memory, event loop, buffers; the store that they share; their backend; and what they did "
        "not admit.",
        [],
        [
            ("", AT_A_GLANCE),
            ("Process", PROCESS),
            ("Shared counters", STORE),
            ("Backend", BACKEND),
            ("Callers", CALLERS),
            ("Clients", CLIENTS),
        ],
    )
