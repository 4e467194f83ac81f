"""Starts clusters of real servers, and servers with sentinels, on loopback, and ends them by id."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.crc import key_slot

from .processes import LOOPBACK, free_port, wait_until
from .stores import Store, find_binary

SLOTS = 16384
# A node's bus port, 10,000 above, must be below those for outgoing connections too.
_CLIENT_PORTS = range(20_000, 22_000)
NODE_TIMEOUT = 0.5  # seconds after which a silent node counts as dead
# Without a wait for more replicas before the first copy is sent.
_AT_ONCE = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


def slot_of(account: str) -> int:
    return key_slot(f"invoke-gateway:{{{account}}}".encode())


class Cluster:
    """Runs three primaries with a third of the slots each. `replicas` more nodes copy the first of them."""

    def __init__(self, kind: str, replicas: int = 0) -> None:
        arguments = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(int(NODE_TIMEOUT * 1000))),
            *("--cluster-require-full-coverage", "no", *_AT_ONCE),
        )
        self.nodes = [
            Store(kind, *arguments, port=free_port(_CLIENT_PORTS, beside=10_000)) for _ in range(3 + replicas)
        ]
        self.url = "redis+cluster://" + ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes[:2])

    def start(self) -> None:
        for number, node in enumerate(self.nodes):
            node.start()
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number < 3:
                    slots = range(number * SLOTS // 3, (number + 1) * SLOTS // 3)
                    client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "MEET", LOOPBACK, self.nodes[0].port)
        wait_until(lambda: all(self._is_complete(node) for node in self.nodes), "the cluster is complete")
        for replica in self.nodes[3:]:
            with replica.client() as client:
                client.execute_command("CLUSTER", "REPLICATE", self.id_of(self.nodes[0]))
            wait_until(lambda: replica.info()["master_link_status"] == "up", "the replica copies")  # noqa: B023 - it is called within this turn

    def _is_complete(self, node: Store) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER", "INFO")
        facts = info if isinstance(info, dict) else dict(line.split(":") for line in info.split())
        return facts["cluster_state"] == "ok" and facts["cluster_known_nodes"] == str(len(self.nodes))

    def id_of(self, node: Store) -> str:
        with node.client() as client:
            return str(client.execute_command("CLUSTER", "MYID"))

    def node_of(self, account: str) -> Store:
        """Returns the node by the slots at the start."""
        return self.nodes[slot_of(account) * 3 // SLOTS]

    def accounts(self) -> list[str]:
        """Returns an account of each primary."""
        found: dict[int, str] = {}
        for number in range(100):
            account = f"{number:012d}"
            found.setdefault(self.nodes.index(self.node_of(account)), account)
        return [found[number] for number in range(3)]

    def clear(self) -> None:
        for node in self.nodes[:3]:
            node.clear()
        for account in self.accounts():
            node = self.node_of(account)
            with node.client() as client:
                run = node.info()["run_id"][:16]
                client.hset(f"invoke-gateway:{{{account}}}:state", mapping={"run": run, "refill": 0})

    def begin_move(self, account: str, source: Store, target: Store) -> None:
        """Starts moving the slot of an account to another node, as resharding does."""
        with source.client() as giving, target.client() as taking:
            taking.execute_command("CLUSTER", "SETSLOT", slot_of(account), "IMPORTING", self.id_of(source))
            giving.execute_command("CLUSTER", "SETSLOT", slot_of(account), "MIGRATING", self.id_of(target))

    def end_move(self, account: str, source: Store, target: Store, *, with_keys: bool = True) -> None:
        with source.client() as giving, target.client() as taking:
            keys = giving.keys(f"invoke-gateway:{{{account}}}:*".replace("{", r"\{").replace("}", r"\}"))
            if keys and with_keys:
                giving.execute_command("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
            elif keys:
                giving.delete(*keys)
            for client in (taking, giving):
                client.execute_command("CLUSTER", "SETSLOT", slot_of(account), "NODE", self.id_of(target))

    @contextmanager
    def moving(self, account: str, target: Store, *, with_keys: bool = True) -> Iterator[None]:
        """Moves the slot to `target` during the block; it has arrived at its end."""
        source = self.node_of(account)
        self.begin_move(account, source, target)
        try:
            yield
        finally:
            self.end_move(account, source, target, with_keys=with_keys)

    def move_home(self, account: str, source: Store) -> None:
        home = self.node_of(account)
        self.begin_move(account, source, home)
        self.end_move(account, source, home)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@contextmanager
def running_cluster(kind: str, *, replicas: int = 0) -> Iterator[Cluster]:
    cluster = Cluster(kind, replicas)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


class Sentinel:
    """Runs a sentinel that watches a primary as `mymaster`; two of three must agree."""

    def __init__(self, kind: str, primary: Store, password: str) -> None:
        self.port = free_port()
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="sentinel-"))
        configuration = self._folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            f"bind {LOOPBACK}",
            f"dir {self._folder}",
            f"sentinel monitor mymaster {LOOPBACK} {primary.port} 2",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 2000",
            *([f"requirepass {password}", f"sentinel sentinel-pass {password}"] if password else []),
        ]
        configuration.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [str(find_binary(kind)), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
        )

    def _client(self) -> Any:
        return redis.Redis(
            host=LOOPBACK, port=self.port, password=self._password or None, decode_responses=True, protocol=2
        )

    def state(self) -> dict[str, Any]:
        with self._client() as client, suppress(redis.ConnectionError):
            return dict(client.sentinel_master("mymaster"))
        return {}

    def fail_over(self) -> None:
        with self._client() as client:
            client.sentinel_failover("mymaster")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Watched:
    """Runs a primary, a replica, and three sentinels that watch them."""

    def __init__(self, primary: Store, replica: Store, sentinels: list[Sentinel], secret: str) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinels = sentinels
        hosts = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in sentinels)
        query = f"?sentinel_password={quote(secret)}" if secret else ""
        self.url = f"redis+sentinel://{hosts}/mymaster/0{query}"


@contextmanager
def watched_store(kind: str, *, password: str = "") -> Iterator[Watched]:
    with ExitStack() as stack:
        primary = Store(kind, *_AT_ONCE, is_tcp=True)
        stack.callback(primary.close)
        primary.start()
        replica = Store(kind, "--replicaof", LOOPBACK, str(primary.port), is_tcp=True)
        stack.callback(replica.close)
        replica.start()
        wait_until(lambda: replica.info()["master_link_status"] == "up", "the replica copies")
        sentinels = []
        for _ in range(3):
            sentinel = Sentinel(kind, primary, password)
            stack.callback(sentinel.close)
            sentinels.append(sentinel)
        known = {"num-other-sentinels": 2, "num-slaves": 1}
        wait_until(lambda: all(known.items() <= each.state().items() for each in sentinels), "they know each other")
        yield Watched(primary, replica, sentinels, password)
