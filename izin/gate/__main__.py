"""Run the gate in the foreground: ``python -m izin.gate``."""

from izin.gate.server import serve
from izin.kafka.clients import codec
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import GateSettings, KafkaSettings, LogSettings


def main() -> None:
    """Answer over HTTP whether a message may be sent to a recipient, and why.

    It stores nothing, and needs Kafka alone. It runs until SIGTERM or Ctrl-C. Exit code 4 if a
    setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("gate start failed"):
        kafka, settings = KafkaSettings(), GateSettings()
        serve(kafka, settings, codec(kafka))


if __name__ == "__main__":
    main()
