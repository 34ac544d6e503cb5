"""Run the intake: ``python -m izin.producers``."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from izin.consent.errors import IzinError
from izin.producers.intake.server import serve
from izin.runtime.observe import configure, get_logger
from izin.runtime.registry import codec
from izin.runtime.settings import IntakeSettings, KafkaSettings, LogSettings


def main() -> int:
    """Read the settings and serve until told to stop; 4 where that is not possible."""
    configure(LogSettings())
    try:
        kafka = KafkaSettings()
        serve(kafka, IntakeSettings(), codec(kafka))
    except IzinError as error:
        told = str(error)
    except ValidationError as error:
        # Without what was given, which may be a secret.
        wrong = error.errors(include_input=False)
        told = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in wrong)
    else:
        return 0
    get_logger(__name__).error("intake-not-started", error=told)
    return 4


if __name__ == "__main__":
    sys.exit(main())
