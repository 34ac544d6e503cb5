"""``izin dead-letters``: what could become no decision, where it stood, and why."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from izin.console.read_topic import read_all
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_json,
    print_rows,
    told,
)
from izin.runtime.kafka import BrokerError
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLUMNS = ("when (Turkey)", "where it stood", "reason", "what is wrong")


def dead_letters(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the dead letters: where each stood, and what is wrong with it.

    The JSON holds the original bytes too, in base64; those are personal data.
    """
    with told():
        letters = list(_read(kafka_settings()))
    match output:
        case OutputFormat.JSON:
            print_json([_plain(one) for one in letters])
        case OutputFormat.TABLE:
            print_rows(output, _COLUMNS, [_row(one) for one in letters])


def _read(settings: KafkaSettings) -> Iterator[Mapping[str, Any]]:
    words = codec(settings)
    try:
        for one in read_all(settings, words, settings.topics.dead_letters):
            yield one.value
    except KafkaException as error:
        raise BrokerError(
            f"Kafka at {settings.bootstrap_servers}: {error.args[0].str()}; is it running, and is "
            "KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error


def _row(letter: Mapping[str, Any]) -> tuple[object, ...]:
    wrong = (f"{one['field']}: {one['reason']} ({one['code']})" for one in letter["violations"])
    where = f"{letter['topic']}/{letter['partition']}/{letter['offset']}"
    return letter["timestamp"], where, letter["reason"], "\n".join(wrong)


def _plain(value: object) -> object:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case _:
            return value
