"""Run a sink worker in the foreground: ``python -m izin.sinks``."""

from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import (
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SinkSettings,
)
from izin.sinks.worker import run


def main() -> None:
    """Run a sink worker: it maintains the ledger, registers consents at İYS and pulls from it.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("sink worker start failed"):
        kafka, ledger, iys, sink = KafkaSettings(), LedgerSettings(), IysSettings(), SinkSettings()
        encoder = codec(kafka)
    run(kafka, ledger, iys, sink, encoder)


if __name__ == "__main__":
    main()
