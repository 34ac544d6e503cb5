"""Serve the API in the foreground: ``python -m izin.api``."""

from izin.api.process import serve
from izin.kafka.clients import run_process
from izin.runtime.settings import ApiSettings, LedgerSettings


def main() -> None:
    """Answer over HTTP what became of an event and what stands for a recipient, and close the
    consents of a changed number or address.

    For systems with an API key, over the ledger. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    run_process("api start failed", serve, LedgerSettings, ApiSettings)


if __name__ == "__main__":
    main()
