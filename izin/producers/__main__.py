"""Run the intake: ``python -m izin.producers``."""

from izin.kafka.clients import run_process
from izin.producers.intake.process import serve
from izin.runtime.settings import IntakeSettings


def main() -> None:
    """Run the HTTP intake, to which your systems post consents and opt-outs.

    It runs until SIGTERM or Ctrl-C. Exit code 4 if a setting or a server is at fault.
    """
    run_process("intake start failed", serve, IntakeSettings)


if __name__ == "__main__":
    main()
