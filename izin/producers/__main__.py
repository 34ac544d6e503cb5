"""Run the intake: ``python -m izin.producers``."""

from izin.kafka.clients import codec
from izin.producers.intake.process import serve
from izin.runtime.logs import configure, exiting_on_error
from izin.runtime.settings import IntakeSettings, KafkaSettings, LogSettings


def main() -> None:
    """Run the HTTP intake, to which your systems post consents and opt-outs.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    configure(LogSettings())
    with exiting_on_error("intake start failed"):
        kafka, intake = KafkaSettings(), IntakeSettings()
        serve(kafka, intake, codec(kafka))


if __name__ == "__main__":
    main()
