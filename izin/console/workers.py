"""``izin stream | sink | intake``: our processes, each in the foreground until SIGTERM or
Ctrl-C.

Each imports its own floor when it is run: an intake has no use for Faust, nor a sink worker.
"""

from __future__ import annotations

from izin.console.terminal.output import told
from izin.runtime.observe import configure
from izin.runtime.registry import codec
from izin.runtime.settings import (
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SinkSettings,
    StreamSettings,
)


def stream() -> None:
    """Run an order worker: both lanes of consent events, in lawful order, exactly once."""
    from izin.streams.app import run  # noqa: PLC0415 - see above

    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        run(kafka, StreamSettings(), codec(kafka))


def sink() -> None:
    """Run a sink worker: the ledger, İYS, and what İYS tells."""
    from izin.sinks.worker import run  # noqa: PLC0415 - see above

    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        run(kafka, LedgerSettings(), IysSettings(), SinkSettings(), codec(kafka))


def intake() -> None:
    """Run the HTTP door for signups."""
    from izin.producers.serving import serve  # noqa: PLC0415 - see above

    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        serve(kafka, IntakeSettings(), codec(kafka))
