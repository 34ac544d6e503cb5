"""``izin stream | sink | intake``: our processes, each in the foreground until SIGTERM or
Ctrl-C.
"""

from __future__ import annotations

import asyncio

from izin.console.output import told
from izin.producers.serving import serve
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
from izin.sinks.worker import run as run_sink
from izin.streams.app import run as run_stream


def stream() -> None:
    """Run an order worker: both lanes of consent events, in lawful order, exactly once."""
    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        run_stream(kafka, StreamSettings(), codec(kafka))


def sink() -> None:
    """Run a sink worker: the ledger, İYS, and what İYS tells."""
    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        asyncio.run(run_sink(kafka, LedgerSettings(), IysSettings(), SinkSettings(), codec(kafka)))


def intake() -> None:
    """Run the HTTP door for signups."""
    with told():
        configure(LogSettings())
        kafka = KafkaSettings()
        asyncio.run(serve(kafka, IntakeSettings(), codec(kafka)))
