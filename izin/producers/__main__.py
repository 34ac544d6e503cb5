"""Run the intake: ``python -m izin.producers``."""

from __future__ import annotations

import sys

from izin.consent.errors import IzinError
from izin.producers.serving import serve
from izin.runtime.observe import configure, get_logger
from izin.runtime.registry import codec
from izin.runtime.settings import IntakeSettings, KafkaSettings, LogSettings


def main() -> int:
    """Read the settings and serve until told to stop; 1 where that is not possible."""
    configure(LogSettings())
    kafka = KafkaSettings()
    try:
        serve(kafka, IntakeSettings(), codec(kafka))
    except IzinError as error:
        get_logger(__name__).error("intake-not-started", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
