"""Run an order worker: ``python -m izin.streams``."""

from izin.runtime.observe import configure
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings, LogSettings, StreamSettings
from izin.streams.engine.app import run


def main() -> None:
    """Read the settings and run until a signal ends it."""
    configure(LogSettings())
    kafka = KafkaSettings()
    run(kafka, StreamSettings(), codec(kafka))


if __name__ == "__main__":
    main()
