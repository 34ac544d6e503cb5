"""Run a sink worker in the foreground: ``python -m izin.sinks``."""

from izin.kafka.clients import run_process
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.worker import run


def main() -> None:
    """Run a sink worker: it maintains the ledger, registers consents at İYS and pulls from it.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    run_process(
        "sink worker start failed", run, LedgerSettings, IysSettings, SinkSettings, is_guarded=False
    )


if __name__ == "__main__":
    main()
