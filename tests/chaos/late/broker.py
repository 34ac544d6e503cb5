"""A broker with one more listener, which it advertises at a proxy's address."""

from collections.abc import Mapping
from pathlib import Path

from izin.local import Kafka, free_port

_HOST = "127.0.0.1"


class ProxiedBroker(Kafka):
    """Its clients that begin at `proxy_port` stay behind the proxy there."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir, free_port())
        self.proxy_port = free_port()
        self.behind_proxy = free_port()
        """Where it listens for what the proxy forwards."""

    def _settings(self, port: int) -> Mapping[str, object]:
        settings = super()._settings(port)
        added = {
            "listeners": f"PROXIED://{_HOST}:{self.behind_proxy}",
            "advertised.listeners": f"PROXIED://{_HOST}:{self.proxy_port}",
            "listener.security.protocol.map": "PROXIED:PLAINTEXT",
        }
        return settings | {name: f"{settings[name]},{more}" for name, more in added.items()}
