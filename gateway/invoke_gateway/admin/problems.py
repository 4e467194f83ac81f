"""Describes the problems of a gateway in sentences: what is wrong, and what an operator does about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Advice(NamedTuple):
    """Holds the texts of one cause."""

    problem: str
    action: str


ADVICE: dict[str, Advice] = {
    "draining": Advice(
        "The gateway is draining: it admits no new call, and ends after the calls in flight.",
        "Send calls to the gateway that takes its place.",
    ),
    "not_ready": Advice("The gateway admits no call.", "Follow the reason; /readyz responds with 503 until then."),
    "backend_down": Advice(
        "The backend accepts no connection. Synchronous calls get 500; events wait.",
        "Start the backend, or correct backend.url. The gateway checks the backend every second.",
    ),
    "settings_invalid": Advice(
        "The last reload refused the settings file. The settings of before stay in force.",
        "Correct the file and reload it (SIGHUP, or watch: true). `invoke-gateway check FILE` lists every mistake.",
    ),
    "restart_needed": Advice(
        "The settings file has changes that a reload does not put in force.",
        "Restart the gateway when it suits: SIGTERM lets calls in flight finish.",
    ),
    "store_unavailable": Advice(
        "The store of the shared counters does not respond. Calls are decided by shared.on_store_failure.",
        "Start the store, or repair the network. The gateway recovers by itself.",
    ),
    "store_recovering": Advice(
        "The shared counters are being rebuilt. No call is admitted until every gateway has reported its calls.",
        "Wait for at most shared.lease_seconds. If this repeats, see the runbook: InvokeGatewayStoreRecovering.",
    ),
    "limits_mismatch": Advice(
        "A gateway on the same store has other limits.",
        "Give all gateways the same settings file, and reload those that have the old one.",
    ),
    "workers": Advice(
        "Not all workers serve.",
        "Nothing while they are replaced. If they die again, the log has the cause of each death.",
    ),
    "event_store": Advice(
        "The store of events cannot keep or read events. An Event gets 500.",
        "Follow the reason: free space on the disk, or start the store. The gateway tries again by itself.",
    ),
    "events_held": Advice(
        "The store has events that were accepted for another backend. They are not run here.",
        "`invoke-gateway queue` names them; `queue adopt` runs them here, `queue drop --held` drops them.",
    ),
    "events_undelivered": Advice(
        "Outcomes of events could not be delivered to their targets.",
        "Repair the target. `invoke-gateway queue list --state undelivered` lists the events; `queue retry` and `queue"
        " drop` decide.",
    ),
    "backend_refuses_events": Advice(
        "The backend refuses to run events until a setting is changed. The events wait.",
        "The log names the setting. `invoke-gateway queue` shows the functions.",
    ),
    "backend_not_followed": Advice(
        "The backend's own concurrency settings could not be read, or do not fit into the account.",
        "The log has the cause of each. Values that were read before stay in force.",
    ),
    "backend_credentials": Advice(
        "The credentials that sign for the backend are missing, refused, or expire within five minutes.",
        "Correct backend.sign.credentials or its provider; /readyz and the log have the cause. The gateway loads them"
        " again by itself.",
    ),
    "secrets_unreadable": Advice(
        "The secrets of some access keys could not be read again. The last ones stay in force until they expire.",
        "The log names the access keys and the reason. Repair the source; the gateway tries again every 30 seconds.",
    ),
    "outside_concurrency": Advice(
        "The slots of callers beside the gateway (outside_concurrency) could not be read, or are old.",
        "Follow the reason: the command, or the right to cloudwatch:GetMetricData. The last number stays in force.",
    ),
    "background_task": Advice(
        "A task that the gateway runs beside its calls has failed, and is being started again.",
        "Wait a minute. If it does not recover, restart the gateway and report the lines of its log.",
    ),
}
"""The texts of each cause: those of the metric `degraded`, and states of the gateway that are problems as well."""

_UNKNOWN = Advice("The gateway is degraded.", "See the gateway's log.")


def describe_problems(causes: Iterable[str], details: Mapping[str, str | None]) -> list[dict[str, object]]:
    """Describes each cause once, in the order of the table. `details` has what is known beyond its texts."""
    ranks = {cause: rank for rank, cause in enumerate(ADVICE)}
    described: list[dict[str, object]] = []
    for cause in sorted(set(causes), key=lambda cause: (ranks.get(cause, len(ranks)), cause)):
        advice = ADVICE.get(cause, _UNKNOWN)
        described.append(
            {"cause": cause, "problem": advice.problem, "detail": details.get(cause), "action": advice.action}
        )
    return described
