"""Gives the files of tests to the workers of xdist.

The files that take longest are first, so that no worker is left alone with one at the end. The files that share servers
of a session are one worker's, so that these servers start once and not once for each worker.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ON_MINISTACK = "tests/live on MiniStack"
ON_EMULATOR = "tests/live on the emulator"
TOGETHER = {
    "tests/live/test_cloudformation.py": ON_MINISTACK,
    "tests/live/test_events.py": ON_MINISTACK,
    "tests/live/test_invocations.py": ON_MINISTACK,
    "tests/live/test_refused_requests.py": ON_MINISTACK,
    "tests/live/test_streaming.py": ON_MINISTACK,
    "tests/live/test_terraform.py": ON_MINISTACK,
    "tests/live/test_throttling.py": ON_MINISTACK,
    "tests/live/test_emulator.py": ON_EMULATOR,
    "tests/live/test_emulator_events.py": ON_EMULATOR,
}
# By the time they take, where that is more than a few seconds.
LONGEST = (
    ON_MINISTACK,
    "tests/docs/test_transcripts.py",
    "tests/page/test_page.py",
    "tests/workers/test_workers.py",
    "tests/testing/test_install_page.py",
    "tests/chaos/traffic/test_limit_changes.py",
    "tests/testing/test_outside_project.py",
    "tests/chaos/traffic/test_workload.py",
    "tests/live/test_paths.py",
    "tests/workers/test_embedded_store.py",
    "tests/chaos/test_run.py",
    "tests/scenarios/test_shared_counters.py",
    "tests/docs/test_site.py",
    "tests/server/test_process.py",
    "tests/testing/test_plugin.py",
    "tests/counters/shared/test_shard.py",
    "tests/counters/shared/test_recovery.py",
    "tests/admin/test_openapi.py",
    "tests/docs/test_control_page.py",
    "tests/listener/test_timeouts.py",
    "tests/chaos/test_cluster.py",
    "tests/chaos/events/test_run.py",
    "tests/scenarios/test_log_readers.py",
    "tests/scenarios/test_shared_control.py",
    "tests/queue/redis/test_store.py",
    "tests/queue/redis/test_crashes.py",
    "tests/scenarios/test_logs.py",
    "tests/scenarios/test_cancellation.py",
    "tests/deploy/test_kubernetes.py",
    "tests/upstream/test_idle_timeouts.py",
    "tests/counters/shared/test_cluster.py",
    ON_EMULATOR,
    "tests/simulation/test_simulation.py",
    "tests/settings/files/test_yaml_text.py",
    "tests/testing/test_gateway.py",
    "tests/testing/test_events.py",
)
_RANKS = {scope: rank for rank, scope in enumerate(LONGEST)}


def find_scope(nodeid: str) -> str:
    """Returns the name of what one worker runs together with this test: its file, in most cases."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


def sort_by_duration(items: list[pytest.Item]) -> None:
    """Moves the tests of the longest files to the front; the rest keep their order."""
    items.sort(key=lambda item: _RANKS.get(find_scope(item.nodeid), len(_RANKS)))


class LongestFirst(LoadScopeScheduling):
    """Distributes whole scopes in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says little about their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return find_scope(nodeid)
