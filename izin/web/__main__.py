"""Serve the console in the foreground: ``python -m izin.web``."""

from izin.kafka.clients import run_process
from izin.runtime.settings import ConsoleSettings, LedgerSettings
from izin.web.process import serve


def main() -> None:
    """Serve the console: what is due, what is stuck, why somebody may not be written to, and what
    to do about it, in a browser.

    For people with an account (izin accounts save). It runs until SIGTERM or Ctrl-C. Exit code 4 if
    a setting or a server is at fault.
    """
    run_process("console start failed", serve, LedgerSettings, ConsoleSettings)


if __name__ == "__main__":
    main()
