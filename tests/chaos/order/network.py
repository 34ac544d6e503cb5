"""The network between the workers and their brokers: a proxy for each pair, which can fall silent.

A broker has a listener for each worker, and advertises the proxy before it. So whatever client a
worker makes goes through its own proxies; brokers among themselves, and the campaign, do not.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from izin.local import free_port
from tests.support.proxy import Proxy, proxy_to

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_OPENED_WITHIN)
        self._loop.close()
