"""Serve the feeds in the foreground: ``python -m izin.feeds``."""

from izin.feeds.endpoint import serve
from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import FeedsSettings, KafkaSettings, LogSettings


def main() -> None:
    """Serve opt-outs, permissions and outcomes over HTTP, to systems that have no Kafka client.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("feeds start failed"):
        kafka, settings = KafkaSettings(), FeedsSettings()
        serve(kafka, settings, codec(kafka))


if __name__ == "__main__":
    main()
