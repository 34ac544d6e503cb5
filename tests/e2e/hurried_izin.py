"""``python -m tests.e2e.hurried_izin``: ``izin`` whose broker looks all the time for what it can
delete, for a broker's clock cannot be moved.
"""

from collections.abc import Mapping

from izin.cli.entry import main
from izin.local.kafka import Kafka

_settings = Kafka._settings


def _hurried(kafka: Kafka, port: int) -> Mapping[str, object]:
    return {
        **_settings(kafka, port),
        "log.retention.check.interval.ms": 200,
        "log.initial.task.delay.ms": 200,
        "log.cleaner.backoff.ms": 200,
        # An index is as long as this from the start, and every file is searched.
        "log.index.size.max.bytes": 65_536,
    }


if __name__ == "__main__":
    Kafka._settings = _hurried  # type: ignore[method-assign]
    main()
