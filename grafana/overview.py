"""*Overview*: the accounts, and who uses up what they have."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from .panels import FULL, RED, YELLOW, Query, choice, lines, make_dashboard, ranking, single
from .sharing import GATEWAYS, STORES, sum_limits

ACCOUNT = 'account=~"$account"'
ACCOUNTS = f"{GATEWAYS}, {ACCOUNT}"

INVOCATIONS = f"invoke_gateway_invocations_total{{{ACCOUNTS}}}[$__rate_interval]"
ERRORS = f"invoke_gateway_errors_total{{{ACCOUNTS}}}[$__rate_interval]"
THROTTLES = f"invoke_gateway_throttles_total{{{ACCOUNTS}}}[$__rate_interval]"
RETRIES = f"invoke_gateway_retry_requests_total{{{ACCOUNTS}}}[$__rate_interval]"
DURATION = f"invoke_gateway_duration_seconds_bucket{{{ACCOUNTS}}}[$__rate_interval]"


def gauge(name: str, by: str = "account") -> str:
    """Sums a level over the gateways: each reports its own."""
    return f"sum by ({by}) (invoke_gateway_{name}{{{ACCOUNTS}}})"


def limit(name: str, by: str = "account") -> str:
    """Sums a limit over the stores: the gateways of one store share it."""
    return sum_limits(name, by, ACCOUNT)


def throttles(by: str) -> str:
    """Rates throttles a second; 0 where there are calls and no throttle yet."""
    return f"(sum by ({by}) (rate({THROTTLES})) or 0 * sum by ({by}) (rate({INVOCATIONS})))"


def calls(by: str) -> str:
    """Rates calls a second, throttled ones included; nothing where there are none."""
    return f"(sum by ({by}) (rate({INVOCATIONS})) + {throttles(by)} > 0)"


def quantile(share: float) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({DURATION})))"


# Not the gateways' own claimed_account_concurrency, which has all reservations at each of them.
CLAIMED = f"({gauge('unreserved_concurrent_executions')} + {limit('reserved_concurrent_executions')})"
CLAIMED_SHARE = f"{CLAIMED} / {limit('concurrent_executions_limit')}"
POOL = f"{gauge('unreserved_concurrent_executions')} / ({limit('unreserved_concurrent_executions_limit')} > 0)"
BY_FUNCTION = "account, function"
RESERVED = (
    f"{gauge('concurrent_executions', BY_FUNCTION)} / ({limit('reserved_concurrent_executions', BY_FUNCTION)} > 0)"
)

AT_A_GLANCE = [
    single(
        "Gateways up",
        "How many of the gateways answer their scrapes, and in how many places they count: those that share their "
        "counters count in one. Each place has limits of its own; here they are added up.",
        units.Short,
        Query(f"sum(up{{{GATEWAYS}}})", "up"),
        Query(f"count(count by (store) ({STORES}{{{GATEWAYS}}}))", "places"),
        below=RED,
        steps=((1, "green"),),
        no_value="none",
    ),
    single(
        "Alerts that fire",
        "Of the rules in grafana/rules.yml. What to do: docs/runbook.md.",
        units.Short,
        Query('count(ALERTS{alertname=~"InvokeGateway.+", alertstate="firing", job="$job"}) or vector(0)', "alerts"),
        steps=((1, RED),),
    ),
    single(
        "Claimed concurrency",
        "Share of the slots that are reserved or used by functions without a reservation; of the account with the "
        "largest share. CloudWatch: ClaimedAccountConcurrency.",
        units.PercentUnit,
        Query(f"max({CLAIMED_SHARE})", "claimed"),
        steps=FULL,
    ),
    single(
        "Unreserved pool",
        "Share of the slots for functions without a reservation that is in use; of the fullest pool.",
        units.PercentUnit,
        Query(f"max({POOL})", "used"),
        steps=FULL,
        no_value="no pool",
    ),
    single(
        "Throttled",
        "Share of the calls that were refused with TooManyRequestsException.",
        units.PercentUnit,
        Query(f"sum({throttles('account')}) / sum({calls('account')})", "throttled"),
        steps=((0.01, YELLOW), (0.05, RED)),
        no_value="no calls",
    ),
    single(
        "Calls",
        "Calls a second, throttled ones too.",
        units.RequestsPerSecond,
        Query(f"sum({calls('account')})", "calls"),
        no_value="none",
    ),
    single(
        "Duration, p99",
        "99 of 100 invocations took the backend no longer than this.",
        units.Seconds,
        Query(quantile(0.99), "p99"),
        no_value="no calls",
    ),
    single(
        "Oldest call",
        "For how long the oldest call in flight has held its slot. It may be as old as backend.timeout_seconds.",
        units.Seconds,
        Query(f"max(invoke_gateway_oldest_execution_age_seconds{{{ACCOUNTS}}})", "oldest"),
    ),
]

CONCURRENCY = [
    lines(
        "Claimed concurrency",
        "Slots: all reservations, used or not, and the unreserved ones in use, against the account's limit; and what "
        "really runs.",
        units.Short,
        Query(CLAIMED, "claimed {{account}}"),
        Query(gauge("concurrent_executions"), "in flight {{account}}"),
        Query(limit("concurrent_executions_limit"), "limit {{account}}"),
    ),
    lines(
        "Unreserved pool",
        "Slots in use by functions without a reservation, against what the reservations leave over.",
        units.Short,
        Query(gauge("unreserved_concurrent_executions"), "in flight {{account}}"),
        Query(limit("unreserved_concurrent_executions_limit"), "limit {{account}}"),
    ),
    lines(
        "Busiest functions",
        "Invocations in flight of the ten functions that have most. A click leads to the function.",
        units.Short,
        Query(f"topk(10, {gauge('concurrent_executions', BY_FUNCTION)})", "{{function}} ({{account}})"),
        to_function=True,
    ),
    lines(
        "Fullest reservations",
        "Share of its reserved slots that a function uses; the ten fullest. At 100 % its calls are throttled.",
        units.PercentUnit,
        Query(f"topk(10, {RESERVED})", "{{function}} ({{account}})"),
        steps=FULL,
        to_function=True,
        highest=1,
    ),
]

THROTTLING = [
    lines(
        "Throttles by reason",
        "Calls a second that were refused with TooManyRequestsException, by its Reason. CloudWatch: Throttles.",
        units.RequestsPerSecond,
        Query(f"sum by (reason) (rate({THROTTLES}))", "{{reason}}"),
        stacked=True,
    ),
    lines(
        "Throttled share",
        "Share of an account's calls that were refused with TooManyRequestsException.",
        units.PercentUnit,
        Query(f"{throttles('account')} / {calls('account')}", "{{account}}"),
        steps=((0.05, RED),),
    ),
    ranking(
        "Most throttled functions",
        "Throttles within the time that is shown. A click leads to the function.",
        units.Short,
        Query(
            f"topk(10, sum by ({BY_FUNCTION}) (increase(invoke_gateway_throttles_total{{{ACCOUNTS}}}[$__range])))",
            "{{function}} ({{account}})",
        ),
    ),
    lines(
        "Retry load",
        "Share of the calls that are an SDK's second or later attempt: load that throttles and errors cause.",
        units.PercentUnit,
        Query(f"sum by (account) (rate({RETRIES})) / {calls('account')}", "{{account}}"),
        steps=((0.2, YELLOW),),
    ),
]

BY_CALLER = "account, caller"
CALLERS = [
    lines(
        "Callers with a limit of their own",
        "Invocations in flight of each caller that has concurrent_executions in the settings, and this limit.",
        units.Short,
        Query(gauge("caller_concurrent_executions", BY_CALLER), "in flight {{caller}}"),
        Query(limit("caller_concurrent_executions_limit", BY_CALLER), "limit {{caller}}"),
    ),
    lines(
        "Fullest limits of callers",
        "Share of its limit that a caller uses; the ten fullest. At 100 % its calls are throttled.",
        units.PercentUnit,
        Query(
            f"topk(10, {gauge('caller_concurrent_executions', BY_CALLER)}"
            f" / ({limit('caller_concurrent_executions_limit', BY_CALLER)} > 0))",
            "{{caller}} ({{account}})",
        ),
        steps=FULL,
        highest=1,
    ),
]

OUTCOMES = [
    lines(
        "Calls by outcome",
        "Calls a second: done, ended in a function error, throttled. CloudWatch: Invocations, Errors, Throttles.",
        units.RequestsPerSecond,
        Query(f"sum(rate({INVOCATIONS})) - sum(rate({ERRORS}))", "done"),
        Query(f"sum(rate({ERRORS}))", "function error"),
        Query(f"sum({throttles('account')})", "throttled"),
        stacked=True,
    ),
    lines(
        "Duration",
        "How long the backend took, cold start included. CloudWatch: Duration.",
        units.Seconds,
        *(Query(quantile(share), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
    ),
]


def make_overview() -> Dashboard:
    return make_dashboard(
        "invoke-gateway-overview",
        "Invoke Gateway: overview",
        "Accounts: how much of their concurrency is claimed, what is throttled and why, latency and retry load.",
        [choice("account", "Account", f"invoke_gateway_concurrent_executions_limit{{{GATEWAYS}}}", several=True)],
        [
            ("", AT_A_GLANCE),
            ("Concurrency", CONCURRENCY),
            ("Throttles and the retries that they cause", THROTTLING),
            ("Callers", CALLERS),
            ("Calls", OUTCOMES),
        ],
    )
