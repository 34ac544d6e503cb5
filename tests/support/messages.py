"""A message as a Kafka client hands it over."""

from types import SimpleNamespace
from typing import Any

from tests.support.builders import NOON


def kafka_message(**fields: object) -> Any:  # noqa: ANN401  # as much of a Message as is read
    """Return a message; each field is what the method of its name returns."""
    given: dict[str, object] = {
        "topic": "topic",
        "partition": 0,
        "offset": 0,
        "key": b"any",
        "value": None,
        "headers": None,
        "timestamp": (1, int(NOON.timestamp() * 1000)),
        "error": None,
    }
    return SimpleNamespace(
        **{name: lambda found=found: found for name, found in (given | fields).items()}
    )
