"""Joins the provisioned concurrency of a function by version: an alias serves the version that it points to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .control.state import ProvisionedConfig


class VersionSlots(NamedTuple):
    """Holds the provisioned concurrency of one version.

    version: its number; an alias where the backend has not named the version
    qualifiers: the qualifiers by which callers name it
    slots: requested
    allocated: ready for calls
    """

    version: str
    qualifiers: tuple[str, ...]
    slots: int
    allocated: int


def sum_by_version(configs: Mapping[str, ProvisionedConfig], allocated_until: float) -> tuple[VersionSlots, ...]:
    """Returns the versions that configurations of qualifiers provision.

    allocated_until: configurations that were changed after this time are not allocated (seconds since the epoch)
    """
    found: dict[str, VersionSlots] = {}
    for qualifier, config in configs.items():
        version = config.version or qualifier
        known = found.get(version) or VersionSlots(version, (version,), 0, 0)
        allocated = config.requested if config.modified_at <= allocated_until else 0
        qualifiers = tuple(dict.fromkeys((*known.qualifiers, qualifier, *config.aliases)))
        found[version] = VersionSlots(version, qualifiers, known.slots + config.requested, known.allocated + allocated)
    return tuple(found.values())
