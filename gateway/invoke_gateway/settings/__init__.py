"""Reads all settings: `load` merges their sources into one frozen object, and reports all mistakes at once."""

from invoke_gateway.settings.files.file import SettingsText
from invoke_gateway.settings.load import RELOADABLE, json_schema, load, restart_needed
from invoke_gateway.settings.merge import Override
from invoke_gateway.settings.models.accounts import Account, FunctionSettings
from invoke_gateway.settings.models.address import Address
from invoke_gateway.settings.models.sections import Backend, Quotas, Retry, Tls
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.problems import Finding, Problem, SettingsError

__all__ = [
    "RELOADABLE",
    "Account",
    "Address",
    "Backend",
    "Finding",
    "FunctionSettings",
    "Override",
    "Problem",
    "Quotas",
    "Retry",
    "Settings",
    "SettingsError",
    "SettingsText",
    "Tls",
    "json_schema",
    "load",
    "restart_needed",
]
