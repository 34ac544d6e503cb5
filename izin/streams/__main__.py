"""Run an order worker: ``python -m izin.streams``."""

from izin.runtime.kafka import codec
from izin.runtime.observe import configure
from izin.runtime.settings import KafkaSettings, LogSettings, StreamSettings
from izin.runtime.start_errors import exiting_on_error
from izin.streams.engine.app import run


def main() -> None:
    """Read the settings and run until a signal ends it."""
    configure(LogSettings())
    with exiting_on_error("order worker start failed"):
        kafka, streams = KafkaSettings(), StreamSettings()
        encoder = codec(kafka)
    run(kafka, streams, encoder)


if __name__ == "__main__":
    main()
