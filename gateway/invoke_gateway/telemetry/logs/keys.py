"""Describes the keys of the log and of the access log; docs/reference/logs.md is made of them."""

from __future__ import annotations

COMMON = {
    "time": "time of the record, by RFC 3339 in UTC, with milliseconds",
    "level": "`debug`, `info`, `warning`, `error` or `critical`",
    "logger": "name of the logger: `invoke_gateway`, or that of a library",
    "message": "the sentence that a line of text has",
    "worker": "number of the worker, with `workers` above 1; not in lines of the supervisor",
    "exception": "traceback of an error, with its line feeds",
}
"""The keys that a line of any kind may have. The first four are always there."""

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "start": ("the process begins", ("version", "process", "settings_file", "workers")),
    "listening": ("a listener is open", ("listener", "url")),
    "admin_without_token": ("the admin listener is not on loopback, and no `admin_token` is set", ("url",)),
    "admin_refused": (
        "requests to the admin listener were refused because of the token, at most one line a minute",
        ("reason", "client", "refused"),
    ),
    "limits": (
        "the default account's limits in the settings, at the start",
        ("concurrent_executions", "reserved", "functions", "accounts"),
    ),
    "counters": (
        "the store of slots and tokens, at the start: its URL, `memory`, or `embedded` for that of workers",
        ("store",),
    ),
    "events": ("the store of events, at the start", ("store", "waiting", "oldest_seconds")),
    "events_held": ("events of another backend are held", ("store", "held")),
    "backend": ("the backend, at the start", ("url", "is_up")),
    "ready": ("the start is complete", ("is_ready", "degraded")),
    "backend_down": ("the backend cannot be reached", ("url", "reason")),
    "backend_up": ("the backend can be reached again", ("url", "seconds")),
    "store_unavailable": ("a store cannot be reached", ("store", "reason")),
    "store_available": ("a store can be reached again", ("store", "seconds")),
    "reload": ("the settings were read again", ("changes", "changed", "restart_needed")),
    "restart_needed": ("settings are changed in the file and wait for a restart", ("restart_needed",)),
    "reload_refused": ("the settings file has mistakes, and the old limits stay in force", ("problems",)),
    "refusals": ("refusals of the last ten seconds", ("refused", "reasons", "functions")),
    "signatures_off": ("other machines reach the Invoke API, and no caller is verified", ("url",)),
    "secrets_read": ("secrets of callers were read, and some are new", ("access_keys", "changed")),
    "secret_unreadable": ("the secret of a caller could not be read again", ("access_key_id",)),
    "events_dropped": (
        "events of the last ten seconds that ended without a successful run",
        ("dropped", "functions"),
    ),
    "worker_ended": ("a worker has ended, and is replaced", ("worker", "process", "status")),
    "worker_replaced": ("another worker serves in its place", ("worker", "process")),
    "lines_dropped": ("lines of the log were dropped", ("dropped",)),
    "access_log_reopened": ("the access log was opened again after a rotation", ()),
    "draining": ("no call is admitted any more, and admitted calls end", ("in_flight", "drain_seconds")),
    "stopped": ("the gateway has stopped", ("seconds",)),
}
"""What a line of each kind reports, and its keys."""

FIELDS = {
    "kind": "kind of the line, if it is one of this table",
    "access_key_id": "access key id of the caller",
    "access_keys": "number of access keys that can be verified",
    "accounts": "number of accounts in the settings",
    "changed": "number of changes",
    "changes": "the first 20 changes, such as `checkout 3 -> 5`, `+search`, `-legacy`",
    "client": "address of the last client that was refused",
    "concurrent_executions": "slots of the account",
    "degraded": "causes for which the gateway is degraded; `[]`: none",
    "drain_seconds": "time that admitted calls may take (seconds)",
    "dropped": "number of events, or of lines",
    "functions": "in `limits` the number of functions with limits of their own; in `refusals` the three functions most "
    "refused, as objects with `account`, `function` and `refused`; in `events_dropped` up to ten objects with "
    "`function`, `condition` and `dropped`",
    "held": "number of held events",
    "in_flight": "calls that the backend has",
    "is_ready": "true if calls are admitted, as in `/readyz`",
    "is_up": "true if the backend can be reached",
    "listener": "`invoke`, `admin` or `live_page`",
    "oldest_seconds": "age of the oldest waiting event (seconds)",
    "problems": "number of mistakes; the message names them",
    "process": "process id",
    "reason": "the cause, in words",
    "reasons": "number of refusals by `Reason`, or by error code where there is none; the ten most frequent",
    "refused": "number of refusals",
    "reserved": "sum of the account's reservations (slots)",
    "restart_needed": "settings that are changed in the file and wait for a restart, by key",
    "seconds": "duration of the outage, or of the drain (seconds)",
    "settings_file": "path of the settings file; null: there is none",
    "status": "exit status of the worker; negative: the number of the signal that ended it",
    "store": "URL without credentials, path of a file, or `memory`; null: events are forwarded",
    "url": "URL of the listener or of the backend",
    "version": "version of the gateway",
    "waiting": "number of waiting events",
    "worker": "number of the worker",
    "workers": "number of workers",
}
"""The keys of lines of one kind."""

ACCESS = {
    "time": "end of the request, by RFC 3339 in UTC, with milliseconds",
    "logger": "`invoke_gateway.access`",
    "worker": "number of the worker, with `workers` above 1",
    "request_id": "id of the request; of a run of an event, that of the event",
    "backend_request_id": "the backend's id of this run of an event",
    "client": "address of the client",
    "method": "HTTP method",
    "status": "status of the response; 0: none was sent",
    "caller": "ARN of the caller, with `signatures: verify`, where its signature is valid",
    "claimed_access_key_id": "access key id in a request without a valid signature, with `signatures: verify`; it "
    "proves nothing. An id with other characters than letters, digits and `_`, or with more than 128, is left out",
    "path": "path, where the request is no invocation",
    "operation": "`Invoke`, `InvokeAsync` or `InvokeWithResponseStream`",
    "function": "name of the function",
    "invocation_type": "`RequestResponse`, `Event` or `DryRun`",
    "attempt": "number of this run of an event, from 1",
    "account": "account whose limits apply",
    "error": "error code of a refusal or failure",
    "reason": "`Reason` of a refusal",
    "decision": "the limit that refused, with in-use and ceiling; or the fault script and its step",
    "fault": "kind of the backend's failure",
    "function_error": "true if the function has failed",
    "client_is_gone": "true if the client disconnected before its request had arrived",
    "backend_seconds": "time at the backend (seconds)",
    "duration_seconds": "time from the request's head to the end of the response (seconds)",
}
"""The keys of a line of the access log. A key without a value is left out."""
