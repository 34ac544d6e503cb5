"""Post webhooks in the foreground: ``python -m izin.webhooks``."""

from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import KafkaSettings, LedgerSettings, LogSettings, WebhookSettings
from izin.webhooks.process import run


def main() -> None:
    """Post events to subscribers by webhook, signed, until each has acknowledged them.

    Several share the subscribers. It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("webhooks start failed"):
        kafka, ledger, webhooks = KafkaSettings(), LedgerSettings(), WebhookSettings()
        encoder = codec(kafka)
    run(kafka, ledger, webhooks, encoder)


if __name__ == "__main__":
    main()
