"""Everything that can be set: `load` puts it together, frozen, and reports all mistakes at once.

models    every key with its type, unit and default
values    what a single value may look like
keys      the keys, walked off the models, for flags, help and messages
file      YAML and JSON into plain mappings, with yaml_text and unreadable
merge     file, environment and flags into one mapping that remembers its sources
problems  mistakes in plain words
load      the whole of it
"""

from invoke_gateway.settings.load import RELOADABLE, json_schema, load, restart_needed
from invoke_gateway.settings.merge import Override
from invoke_gateway.settings.models import Account, Backend, Function, Quotas, Retry, Settings, Tls
from invoke_gateway.settings.problems import Finding, Problem, SettingsError
from invoke_gateway.settings.types import Address

__all__ = [
    "RELOADABLE",
    "Account",
    "Address",
    "Backend",
    "Finding",
    "Function",
    "Override",
    "Problem",
    "Quotas",
    "Retry",
    "Settings",
    "SettingsError",
    "Tls",
    "json_schema",
    "load",
    "restart_needed",
]
