"""Sets what the counters expect of a connection: scripts, a cluster's errors, a server's settings."""

from __future__ import annotations

from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from ...policy.store_url import Host
from ...store.connection import ConnectionRules, StoreConnection
from ...store.errors import first_line
from ...store.server_facts import ServerFacts
from .script import ALL


class Redirect:
    """Stands for the reply of a cluster's node that does not count the account now. The command was not executed.

    host: of the node that counts the account, or None where the reply has no address.
    """

    def __init__(self, error: AskError | TryAgainError | ClusterDownError) -> None:
        # A node that does not know the other's name sends none.
        self.host: Host | None = (error.host, error.port) if isinstance(error, MovedError) and error.host else None
        if isinstance(error, MovedError):
            self.reason = f"its slot is at {error.host}:{error.port}"
        elif isinstance(error, AskError | TryAgainError):
            self.reason = "its slot is being moved to another node"
        else:
            self.reason = f"the cluster is down: {first_line(error)}"

    def __repr__(self) -> str:
        return f"<Redirect {self.reason}>"


def run_of(connection: StoreConnection) -> str:
    """Returns what identifies the server process to the scripts: the first 64 bits of its run id, which are enough."""
    return connection.run_id[:16]


def check_server(facts: ServerFacts) -> str | None:
    """Returns a warning about a server's version or settings, or None."""
    if facts.is_too_old:
        return f"it is version {facts.version}, and versions before Redis 6.2 are not tested: update it"
    if facts.may_evict and facts.has_memory_limit:
        return f"its maxmemory-policy is {facts.eviction_policy}, which may drop running calls: set it to noeviction"
    return None


def _read_node_error(error: ResponseError) -> Redirect:
    if isinstance(error, AskError | TryAgainError | ClusterDownError):
        return Redirect(error)
    raise error


def _read_server_error(error: ResponseError) -> object:
    if isinstance(error, AskError | TryAgainError | ClusterDownError):
        raise ResponseError("it is a node of a cluster; write redis+cluster:// for that") from error
    raise error


SERVER_RULES = ConnectionRules(ALL, _read_server_error, check_server)
NODE_RULES = ConnectionRules(ALL, _read_node_error, check_server)
