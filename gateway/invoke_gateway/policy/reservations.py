"""Divides an account's concurrency between reservations and the pool that the other functions share.

A reservation is cut out of the account: slots of one function are never lent to another. So AWS keeps a minimum
unreserved, for functions without a reservation, and refuses a reservation that would go below it. This minimum is 100
on ordinary accounts. An account whose whole limit is 100 or less could not reserve anything under this rule. So here
such an account has no minimum unless one is set.
"""

from collections.abc import Iterable

ORDINARY_FLOOR = 100  # slots; printed in AWS's refusal and in its user guide
# AWS's answer to PutFunctionConcurrency, recorded from the service; the number is the account's minimum.
FLOOR_VIOLATION = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [{floor}]."
)


def default_unreserved_floor(concurrent_executions: int) -> int:
    """Returns the slots that stay unreserved by default: 100, or none in an account of at most 100."""
    return ORDINARY_FLOOR if concurrent_executions > ORDINARY_FLOOR else 0


def unreserved_concurrent_executions(concurrent_executions: int, reservations: Iterable[int]) -> int:
    """Returns the slots that functions without a reservation share; negative where more is reserved than there is."""
    return concurrent_executions - sum(reservations)


def find_floor_violation(
    concurrent_executions: int, reservations: Iterable[int], floor: int | None = None
) -> str | None:
    """Returns AWS's sentence where the reservations leave fewer than `floor` slots unreserved, otherwise None.

    floor: slots; None means `default_unreserved_floor`.
    """
    minimum = default_unreserved_floor(concurrent_executions) if floor is None else floor
    if unreserved_concurrent_executions(concurrent_executions, reservations) >= minimum:
        return None
    return FLOOR_VIOLATION.format(floor=minimum)
