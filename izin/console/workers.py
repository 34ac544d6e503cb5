"""``izin order | sink | intake | feeds | gate | webhooks``: our processes, each until SIGTERM.

Each imports its own package when it is run: an intake needs no Faust, nor does a sink worker.
"""

from izin.runtime.kafka import codec
from izin.runtime.observe import configure
from izin.runtime.settings import (
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    LogSettings,
    SinkSettings,
    StreamSettings,
    WebhookSettings,
)
from izin.schemas.codec import Codec


def _begin() -> tuple[KafkaSettings, Codec]:
    """Begin the log of a process; return what every one of them needs."""
    configure(LogSettings())
    kafka = KafkaSettings()
    return kafka, codec(kafka)


def order() -> None:
    """Run an order worker: it decides consent events in the law's order, exactly once.

    It reads both lanes (bulk and express) until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    from izin.streams.engine.app import run  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    run(kafka, StreamSettings(), encoder)


def sink() -> None:
    """Run a sink worker: it maintains the ledger, registers consents at İYS and pulls from it.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    from izin.sinks.worker import run  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    run(kafka, LedgerSettings(), IysSettings(), SinkSettings(), encoder)


def intake() -> None:
    """Run the HTTP intake, to which your systems post consents and opt-outs.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    from izin.producers.intake.server import serve  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    serve(kafka, IntakeSettings(), encoder)


def feeds() -> None:
    """Serve opt-outs, permissions and outcomes over HTTP, to systems that have no Kafka client.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    from izin.sinks.feeds.server import serve  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    serve(kafka, FeedsSettings(), encoder)


def gate() -> None:
    """Answer over HTTP whether a message may be sent to a recipient, and why.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    from izin.gate.server import serve  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    serve(kafka, GateSettings(), encoder)


def webhooks() -> None:
    """Post events to subscribers by webhook, signed, until each has acknowledged them.

    Several share the subscribers. It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    from izin.sinks.webhooks.process import run  # noqa: PLC0415 - see above

    kafka, encoder = _begin()
    run(kafka, LedgerSettings(), WebhookSettings(), encoder)
