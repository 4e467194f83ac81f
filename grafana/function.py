"""*Function*: one function, its calls against its ceiling."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from .panels import FULL, RED, YELLOW, Query, choice, heat, lines, make_dashboard, single
from .sharing import GATEWAYS, sum_limits

ACCOUNT = f'{GATEWAYS}, account="$account"'
FUNCTION = f'{ACCOUNT}, function="$function"'


def rate(counter: str, by: str = "function") -> str:
    return f"sum by ({by}) (rate(invoke_gateway_{counter}{{{FUNCTION}}}[$__rate_interval]))"


def quantile(share: float) -> str:
    return f"histogram_quantile({share}, {rate('duration_seconds_bucket', 'le')})"


INVOCATIONS = rate("invocations_total")
ERRORS = rate("errors_total")
THROTTLES = f"({rate('throttles_total')} or 0 * {INVOCATIONS})"
CALLS = f"({INVOCATIONS} + {THROTTLES} > 0)"

IN_FLIGHT = f"sum(invoke_gateway_concurrent_executions{{{FUNCTION}}})"
RESERVED = sum_limits("reserved_concurrent_executions", "account, function", 'account="$account", function="$function"')
POOL = sum_limits("unreserved_concurrent_executions_limit", "account", 'account="$account"')
# A function without a reservation may use the whole pool.
CEILING = f"(sum({RESERVED}) or sum({POOL}))"

AT_A_GLANCE = [
    single(
        "In flight",
        "Invocations of the function that run now. CloudWatch: ConcurrentExecutions.",
        units.Short,
        Query(IN_FLIGHT, "in flight"),
        span=4,
    ),
    single(
        "Ceiling",
        "How many may run at once: the function's reservation, or the unreserved pool of the account.",
        units.Short,
        Query(CEILING, "ceiling"),
        span=4,
    ),
    single(
        "In use",
        "Share of the ceiling that the function uses. Of the unreserved pool others use their part as well.",
        units.PercentUnit,
        Query(f"{IN_FLIGHT} / ({CEILING} > 0)", "in use"),
        span=4,
        steps=FULL,
        no_value="closed",
    ),
    single(
        "Throttled",
        "Share of the calls that were refused with TooManyRequestsException.",
        units.PercentUnit,
        Query(f"{THROTTLES} / {CALLS}", "throttled"),
        span=4,
        steps=((0.01, YELLOW), (0.05, RED)),
        no_value="no calls",
    ),
    single(
        "Function errors",
        "Share of the invocations that ended in a function error. CloudWatch: Errors.",
        units.PercentUnit,
        Query(f"{ERRORS} / ({INVOCATIONS} > 0)", "errors"),
        span=4,
        steps=((0.01, YELLOW), (0.05, RED)),
        no_value="no calls",
    ),
    single(
        "Duration, p99",
        "99 of 100 invocations took the backend no longer than this.",
        units.Seconds,
        Query(quantile(0.99), "p99"),
        span=4,
        no_value="no calls",
    ),
]

USE = [
    lines(
        "In flight",
        "Invocations in flight against the function's reservation, or against the unreserved pool, which it shares.",
        units.Short,
        Query(IN_FLIGHT, "in flight"),
        Query(CEILING, "limit"),
    ),
    lines(
        "Refusals by reason",
        "Calls a second that were refused with TooManyRequestsException, by its Reason.",
        units.RequestsPerSecond,
        Query(rate("throttles_total", "reason"), "{{reason}}"),
        stacked=True,
    ),
    lines(
        "Calls by outcome",
        "Calls a second: done, ended in a function error, throttled. CloudWatch: Invocations, Errors, Throttles.",
        units.RequestsPerSecond,
        Query(f"{INVOCATIONS} - {ERRORS}", "done"),
        Query(ERRORS, "function error"),
        Query(THROTTLES, "throttled"),
        stacked=True,
    ),
    lines(
        "Retry load",
        "Share of the calls that are an SDK's second or later attempt.",
        units.PercentUnit,
        Query(f"{rate('retry_requests_total')} / {CALLS}", "retries"),
        steps=((0.2, YELLOW),),
    ),
]

DURATION = [
    heat(
        "Duration",
        "How many invocations took how long. CloudWatch: Duration.",
        f"invoke_gateway_duration_seconds_bucket{{{FUNCTION}}}",
    ),
    lines(
        "Duration, quantiles",
        "How long the backend took, cold start included.",
        units.Seconds,
        *(Query(quantile(share), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
    ),
]


def make_function() -> Dashboard:
    in_account = f"invoke_gateway_concurrent_executions{{{ACCOUNT}}}"
    return make_dashboard(
        "invoke-gateway-function",
        "Invoke Gateway: function",
        "One function: its calls in flight against its ceiling, what was refused and why, how long it takes. "
        "`other` stands for all functions without labels of their own.",
        [
            choice("account", "Account", f"invoke_gateway_concurrent_executions_limit{{{GATEWAYS}}}"),
            choice("function", "Function", in_account),
        ],
        [("", AT_A_GLANCE), ("Calls", USE), ("Duration", DURATION)],
    )
