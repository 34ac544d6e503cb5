"""Run the gate in the foreground: ``python -m izin.gate``."""

from izin.gate.server import serve
from izin.kafka.clients import run_process
from izin.runtime.settings import GateSettings


def main() -> None:
    """Answer over HTTP whether a message may be sent to a recipient, and why.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    run_process("gate start failed", serve, GateSettings)


if __name__ == "__main__":
    main()
