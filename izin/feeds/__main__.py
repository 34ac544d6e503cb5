"""Serve the feeds in the foreground: ``python -m izin.feeds``."""

from izin.feeds.endpoint import serve
from izin.kafka.clients import run_process
from izin.runtime.settings import FeedsSettings


def main() -> None:
    """Serve opt-outs, permissions and outcomes over HTTP, to systems that have no Kafka client.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    run_process("feeds start failed", serve, FeedsSettings)


if __name__ == "__main__":
    main()
