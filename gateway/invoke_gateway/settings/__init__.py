"""Reads all settings: `load` merges their sources into one frozen object, and reports all mistakes at once."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invoke_gateway.settings.files.file import SettingsText
    from invoke_gateway.settings.loading import RELOADABLE, json_schema, load, restart_needed
    from invoke_gateway.settings.merge import Override
    from invoke_gateway.settings.models.accounts import Account, FunctionSettings
    from invoke_gateway.settings.models.address import Address
    from invoke_gateway.settings.models.sections import Backend, Quotas, Retry, Tls
    from invoke_gateway.settings.models.settings import Settings
    from invoke_gateway.settings.problems import Finding, Problem, SettingsError

__all__ = [
    "PREFIX",
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

PREFIX = "INVOKE_GATEWAY_"
"""The begin of the environment variables of all keys."""

_MODULES = {
    "files.file": ("SettingsText",),
    "loading": ("RELOADABLE", "json_schema", "load", "restart_needed"),
    "merge": ("Override",),
    "models.accounts": ("Account", "FunctionSettings"),
    "models.address": ("Address",),
    "models.sections": ("Backend", "Quotas", "Retry", "Tls"),
    "models.settings": ("Settings",),
    "problems": ("Finding", "Problem", "SettingsError"),
}

if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> object:
        """Loads a name at its first use: the models take half of the time of a command that needs an address alone."""
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
