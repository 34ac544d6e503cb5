"""Run a sink worker in the foreground: ``python -m izin.sinks``."""

from izin.runtime.observe import configure
from izin.runtime.registry import codec
from izin.runtime.settings import (
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SinkSettings,
)
from izin.sinks.worker import run


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    configure(LogSettings())
    kafka = KafkaSettings()
    run(kafka, LedgerSettings(), IysSettings(), SinkSettings(), codec(kafka))


if __name__ == "__main__":
    main()
