"""Run the intake: ``python -m izin.producers``."""

import sys

from pydantic import ValidationError

from izin.consent.errors import IzinError
from izin.producers.intake.server import serve
from izin.runtime.observe import configure, get_logger
from izin.runtime.registry import codec
from izin.runtime.settings import IntakeSettings, KafkaSettings, LogSettings


def main() -> int:
    """Serve until SIGTERM; return 0, or 4 where the settings, the port or Kafka do not allow it."""
    configure(LogSettings())
    try:
        kafka = KafkaSettings()
        serve(kafka, IntakeSettings(), codec(kafka))
    except IzinError as error:
        reason = str(error)
    except ValidationError as error:
        # Without the input, which may be a secret.
        wrong = error.errors(include_input=False)
        reason = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in wrong)
    else:
        return 0
    get_logger(__name__).error("intake start failed", error=reason)
    return 4


if __name__ == "__main__":
    sys.exit(main())
