"""Lists the metrics of functions and accounts: invocations, throttles, slots in use, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..policy.limits import OTHER, AccountLimits
from .exposition import Family, Row, counter, gauge, histogram
from .totals import FunctionCounts

_BY_ACCOUNT = ("account",)
_BY_FUNCTION = ("account", "function")
_BY_CALLER = ("account", "caller")


def list_functions(functions: list[tuple[tuple[str, str], FunctionCounts]]) -> Iterator[Family]:
    """Lists what became of the invocations of each function."""
    yield counter(
        "invocations",
        "Invocations that ran: success or function error (CloudWatch: Invocations).",
        _BY_FUNCTION,
        ((key, counts.invocations) for key, counts in functions),
    )
    yield counter(
        "errors",
        "Invocations that ended in a function error (CloudWatch: Errors).",
        _BY_FUNCTION,
        ((key, counts.errors) for key, counts in functions),
    )
    yield counter(
        "throttles",
        "Invocations refused with TooManyRequestsException, by its Reason (CloudWatch: Throttles).",
        (*_BY_FUNCTION, "reason"),
        (((*key, reason), count) for key, counts in functions for reason, count in list(counts.throttles.items())),
    )
    yield counter(
        "retry_requests",
        "Invocations, served or refused, that are the second or a later attempt of an SDK (by amz-sdk-request).",
        _BY_FUNCTION,
        ((key, counts.retries) for key, counts in functions),
    )
    yield histogram(
        "duration_seconds",
        "Seconds that the backend took for an invocation, cold start included (CloudWatch: Duration, there in ms).",
        _BY_FUNCTION,
        ((key, counts.duration.to_coarse()) for key, counts in functions),
    )


def list_accounts(accounts: list[AccountLimits], held: Mapping[str, int]) -> Iterator[Family]:
    """Lists the slots of each account, and those in use."""
    yield gauge(
        "concurrent_executions",
        "Invocations in flight (CloudWatch: ConcurrentExecutions).",
        _BY_FUNCTION,
        (row for account in accounts for row in _count_running(account, held)),
    )
    yield gauge(
        "reserved_concurrent_executions",
        "Slots reserved for a function (its ReservedConcurrentExecutions).",
        _BY_FUNCTION,
        (row for account in accounts for row in _list_reserved(account)),
    )
    yield gauge(
        "concurrent_executions_limit",
        "Slots of the account.",
        _BY_ACCOUNT,
        (((account.account,), account.concurrent_executions) for account in accounts),
    )
    yield gauge(
        "unreserved_concurrent_executions",
        "Invocations in flight of functions without a reservation (CloudWatch: UnreservedConcurrentExecutions).",
        _BY_ACCOUNT,
        (((account.account,), held.get(account.pool_counter, 0)) for account in accounts),
    )
    yield gauge(
        "unreserved_concurrent_executions_limit",
        "Slots that are not reserved.",
        _BY_ACCOUNT,
        (((account.account,), account.unreserved_concurrent_executions) for account in accounts),
    )
    yield gauge(
        "claimed_account_concurrency",
        "Slots: unreserved invocations in flight, all reservations, and provisioned concurrency outside of reservations"
        " (CloudWatch: ClaimedAccountConcurrency).",
        _BY_ACCOUNT,
        (
            (
                (account.account,),
                held.get(account.pool_counter, 0)
                + account.reserved_concurrent_executions
                + account.unreserved_provisioned,
            )
            for account in accounts
        ),
    )
    callers = [row for account in accounts for row in _list_callers(account, held)]
    yield gauge(
        "caller_concurrent_executions",
        "Invocations in flight of a caller that has concurrent_executions in the settings.",
        _BY_CALLER,
        ((key, in_use) for key, in_use, _ in callers),
    )
    yield gauge(
        "caller_concurrent_executions_limit",
        "Slots that a caller may use at once, where the settings have a limit.",
        _BY_CALLER,
        ((key, ceiling) for key, _, ceiling in callers),
    )
    provisioned = [row for account in accounts for row in _sum_provisioned(account, held)]
    yield gauge(
        "allocated_provisioned_concurrent_executions",
        "Slots of provisioned concurrency that are allocated, over all versions of a function.",
        _BY_FUNCTION,
        ((key, allocated) for key, _, allocated in provisioned),
    )
    yield gauge(
        "provisioned_concurrent_executions",
        "Slots of provisioned concurrency in use (CloudWatch: ProvisionedConcurrentExecutions).",
        _BY_FUNCTION,
        ((key, busy) for key, busy, _ in provisioned),
    )
    yield gauge(
        "provisioned_concurrency_utilization",
        "Part of the allocated provisioned concurrency in use (CloudWatch: ProvisionedConcurrencyUtilization).",
        _BY_FUNCTION,
        ((key, busy / allocated) for key, busy, allocated in provisioned if allocated),
    )


def _list_callers(account: AccountLimits, held: Mapping[str, int]) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Lists the limited callers with their slots in use and their ceilings. Their names are those of the settings."""
    if account.callers is not None:
        for name, counter, ceiling in account.callers.list_ceilings(lambda counter: held.get(counter, 0)):
            yield (account.account, name), held.get(counter, 0), ceiling


def _sum_provisioned(account: AccountLimits, held: Mapping[str, int]) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Sums busy and allocated slots by label."""
    sums: dict[str, tuple[int, int]] = {}
    for name, versions in account.provisioned_versions.items():
        label = account.plan(name).label
        busy, allocated = sums.get(label, (0, 0))
        busy += sum(held.get(account.provisioned_counter(name, version.version), 0) for version in versions)
        sums[label] = busy, allocated + account.allocated_slots(name)
    for label, (busy, allocated) in sums.items():
        yield (account.account, label), busy, allocated


def _count_running(account: AccountLimits, held: Mapping[str, int]) -> Iterator[Row]:
    labelled = 0
    for name in account.labels():
        in_use = held.get(account.function_counter(name), 0)
        labelled += in_use
        yield (account.account, name), in_use
    yield (account.account, OTHER), held.get(account.account_counter, 0) - labelled


def _list_reserved(account: AccountLimits) -> Iterator[Row]:
    for name in account.labels():
        slots = account.functions[name].reserved_concurrent_executions
        if slots is not None:
            yield (account.account, name), slots
