"""Serve the API in the foreground: ``python -m izin.api``."""

from izin.api.process import serve
from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import ApiSettings, KafkaSettings, LedgerSettings, LogSettings


def main() -> None:
    """Answer over HTTP what became of an event and what stands for a recipient, and close the
    consents of a changed number or address.

    For systems with an API key, over the ledger. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("api start failed"):
        kafka, ledger, settings = KafkaSettings(), LedgerSettings(), ApiSettings()
        serve(kafka, ledger, settings, codec(kafka))


if __name__ == "__main__":
    main()
