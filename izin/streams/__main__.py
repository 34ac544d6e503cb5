"""Run an order worker: ``python -m izin.streams``."""

from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import KafkaSettings, LogSettings, StreamSettings
from izin.streams.engine.app import run


def main() -> None:
    """Run an order worker: it decides consent events in the law's order, exactly once.

    It reads both lanes (bulk and express) until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("order worker start failed"):
        kafka, streams = KafkaSettings(), StreamSettings()
        encoder = codec(kafka)
    run(kafka, streams, encoder)


if __name__ == "__main__":
    main()
