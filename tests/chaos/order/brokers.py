"""Brokers for fault injection, one or three, and the network between them and their workers.

A broker has a listener for each worker, and advertises the proxy before it. So whatever client a
worker makes goes through its own proxies, which can fall silent; brokers among themselves, and the
campaign, do not.
"""

import asyncio
import os
import signal
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from izin.local import Kafka, free_port
from tests.support.proxy import Proxy, proxy_to

THREE = 3
EXPIRED_AFTER = 15.0
"""A transactional id that rests so long is forgotten by the brokers; Kafka's own term is a week.

Longer than a transaction may last (10 s). With 5 s a broker that was frozen forgot an id whose
transaction it had not ended: it hung for ever, and whoever took the partition stopped at it."""
_HOST = "127.0.0.1"
_OPENED_WITHIN = 10.0

Pair = tuple[str, int]
"""A worker's name and a broker's number."""


class Network:
    """Proxies between `workers` and `brokers`, in a thread of their own; a context manager."""

    def __init__(self, workers: Sequence[str], brokers: Sequence[int]) -> None:
        self.brokers = brokers
        self._ports: dict[Pair, int] = {
            (worker, broker): free_port() for broker in brokers for worker in workers
        }
        """Where the broker listens for the worker."""
        self._proxies: dict[Pair, Proxy] = {}
        self._open = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def bootstrap_servers(self, worker: str) -> str:
        """Return the brokers as `worker` reaches them."""
        proxies = [proxy for (name, _), proxy in self._proxies.items() if name == worker]
        return ",".join(f"{_HOST}:{proxy.port}" for proxy in proxies)

    def listeners(self, broker: int, settings: Mapping[str, object]) -> Mapping[str, object]:
        """Return the `settings` of `broker` that name its listeners, with those for workers."""
        ports = {pair: port for pair, port in self._ports.items() if pair[1] == broker}
        of = {pair: pair[0].replace("-", "").upper() for pair in ports}
        added = {
            "listeners": [f"{of[one]}://{_HOST}:{port}" for one, port in ports.items()],
            "advertised.listeners": [
                f"{of[one]}://{_HOST}:{self._proxies[one].port}" for one in ports
            ],
            "listener.security.protocol.map": [f"{name}:PLAINTEXT" for name in of.values()],
        }
        return {name: ",".join([str(settings[name]), *more]) for name, more in added.items()}

    def silence(self, *, worker: str | None = None, broker: int | None = None) -> None:
        """Forward nothing of `worker` or of `broker`, whichever is given."""
        for proxy in self._of(worker, broker):
            self._loop.call_soon_threadsafe(proxy.silence)

    def resume(self, *, worker: str | None = None) -> None:
        """Forward everything again, of `worker` alone if it is given."""
        for proxy in self._of(worker, None):
            self._loop.call_soon_threadsafe(proxy.resume)

    def _of(self, worker: str | None, broker: int | None) -> list[Proxy]:
        return [
            proxy
            for (name, number), proxy in self._proxies.items()
            if worker in {None, name} and broker in {None, number}
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    async def _start(self) -> None:
        for pair, port in self._ports.items():
            self._proxies[pair] = await self._open.enter_async_context(proxy_to(_HOST, port))

    def _run(self, step: Any) -> None:  # noqa: ANN401  # a coroutine
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_OPENED_WITHIN)

    def __exit__(self, *_: object) -> None:
        self._run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_OPENED_WITHIN)
        self._loop.close()


class ClusterBroker(Kafka):
    """One node of a cluster, with fixed ports."""

    def __init__(
        self,
        state_dir: Path,
        number: int,
        controllers: Mapping[int, int],
        cluster: str,
        network: Network | None,
    ) -> None:
        super().__init__(state_dir, free_port(), heap="384m")
        self.number = number
        self._network = network
        self._controllers = controllers
        self._cluster = cluster

    def _settings(self, port: int) -> Mapping[str, object]:
        settings = {
            **super()._settings(port),
            "node.id": self.number,
            "listeners": f"CLIENT://127.0.0.1:{port},"
            f"CONTROLLER://127.0.0.1:{self._controllers[self.number]}",
            "controller.quorum.voters": ",".join(
                f"{number}@127.0.0.1:{at}" for number, at in self._controllers.items()
            ),
            "transactional.id.expiration.ms": int(EXPIRED_AFTER * 1000),
            "transaction.remove.expired.transaction.cleanup.interval.ms": 500,
            # A producer's own instant is that of its queue.
            "log.message.timestamp.type": "LogAppendTime",
        }
        if len(self._controllers) == THREE:
            replicated = ("default", "offsets.topic", "transaction.state.log")
            settings |= {f"{name}.replication.factor": THREE for name in replicated}
            settings |= {"min.insync.replicas": 2, "transaction.state.log.min.isr": 2}
        if self._network is not None:
            settings |= self._network.listeners(self.number, settings)
        return settings

    def _format(self, java: tuple[str, ...], settings: Path) -> None:
        super()._format(java, settings)
        # Each node was given a cluster id of its own; they are one cluster.
        written = self._folder / "data" / "meta.properties"
        lines = written.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("cluster.id=")]
        written.write_text("\n".join([*kept, f"cluster.id={self._cluster}", ""]), encoding="utf-8")

    def freeze(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.pid is not None and self.is_alive:
            os.kill(self.pid, signal.SIGCONT)


class BrokerCluster:
    """One or three brokers whose data lives in `folder`; a context manager.

    Their numbers begin with 1. Where a `network` is given, they have its listeners too.
    """

    def __init__(self, folder: Path, size: int, network: Network | None = None) -> None:
        controllers = {number: free_port() for number in range(1, size + 1)}
        cluster = uuid.uuid4().hex[:22]
        self.brokers = {
            number: ClusterBroker(
                folder / f"broker-{number}", number, controllers, cluster, network
            )
            for number in controllers
        }

    @property
    def size(self) -> int:
        return len(self.brokers)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.bootstrap_servers for broker in self.brokers.values())

    def start(self) -> None:
        """Start the nodes that do not run, in parallel: one of three alone never responds."""
        with ThreadPoolExecutor(self.size) as threads:
            for started in [threads.submit(one.start) for one in self.brokers.values()]:
                started.result()

    def leader_of(self, topic: str, partition: int) -> ClusterBroker | None:
        """Return the broker that leads `partition`, None while there is none."""
        found = self._admin().list_topics(topic, timeout=10).topics[topic]
        return self.brokers.get(found.partitions[partition].leader)

    def is_whole(self) -> bool:
        """Return whether every broker runs and every replica is in sync."""
        if not all(broker.is_alive for broker in self.brokers.values()):
            return False
        try:
            topics = self._admin().list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(
            len(partition.isrs) == len(partition.replicas)
            for topic in topics
            for partition in topic.partitions.values()
        )

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers.values():
            broker.kill()
