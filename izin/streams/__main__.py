"""Run an order worker: ``python -m izin.streams``."""

from izin.kafka.clients import run_process
from izin.runtime.settings import StreamSettings
from izin.streams.engine.app import run


def main() -> None:
    """Run an order worker: it decides consent events in the law's order, exactly once.

    It reads both lanes (bulk and express) until SIGTERM or Ctrl-C. Exit code 4 if a setting or a
    server is at fault.
    """
    run_process("order worker start failed", run, StreamSettings, is_guarded=False)


if __name__ == "__main__":
    main()
