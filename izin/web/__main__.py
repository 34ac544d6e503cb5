"""Serve the console in the foreground: ``python -m izin.web``."""

from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import ConsoleSettings, KafkaSettings, LedgerSettings, LogSettings
from izin.web.process import serve


def main() -> None:
    """Serve the console: what is due, what is stuck, why somebody may not be written to, and what
    to do about it, in a browser.

    For people with an account (izin accounts save). It runs until SIGTERM or Ctrl-C. Exit code 4 if
    a setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("console start failed"):
        kafka, ledger, settings = KafkaSettings(), LedgerSettings(), ConsoleSettings()
        serve(kafka, ledger, settings, codec(kafka))


if __name__ == "__main__":
    main()
