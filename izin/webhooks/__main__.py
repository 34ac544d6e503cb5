"""Post webhooks in the foreground: ``python -m izin.webhooks``."""

from izin.kafka.clients import run_process
from izin.runtime.settings import LedgerSettings, WebhookSettings
from izin.webhooks.process import run


def main() -> None:
    """Post events to subscribers by webhook, signed, until each has acknowledged them.

    Several share the subscribers. It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    run_process("webhooks start failed", run, LedgerSettings, WebhookSettings, is_guarded=False)


if __name__ == "__main__":
    main()
