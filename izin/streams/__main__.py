"""Run an order worker: ``python -m izin.streams``."""

from __future__ import annotations

from izin.runtime.kafka import topic_faults
from izin.runtime.observe import configure, get_logger
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings, LogSettings, StreamSettings
from izin.streams.app import run

EXIT_CONFIG = 78
"""The exit status of sysexits.h for a configuration that cannot be worked with."""


def main() -> None:
    """Read the settings, check the topics and run until told to stop."""
    configure(LogSettings())
    kafka = KafkaSettings()
    faults = topic_faults(kafka)
    for fault in faults:
        get_logger(__name__).critical(fault)
    if faults:
        raise SystemExit(EXIT_CONFIG)
    run(kafka, StreamSettings(), codec(kafka))


if __name__ == "__main__":
    main()
