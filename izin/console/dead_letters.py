"""``izin dead-letters``: records that could not be processed, where they are, and why."""

import base64
from collections.abc import Mapping
from typing import Any

from izin.console.read_topic import read_all
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
)
from izin.runtime.registry import codec

_COLUMNS = ("when (Turkey)", "position", "reason", "violations")


def dead_letters(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the dead letters: records that could not be processed, where they are, and why.

    The JSON also has the original bytes in base64; they are personal data.
    """
    with exit_on_error():
        settings = kafka_settings()
        found = read_all(settings, codec(settings), settings.topics.dead_letters)
        letters = [one.value for one in found]
    match output:
        case OutputFormat.JSON:
            print_json([_jsonable(one) for one in letters])
        case OutputFormat.TABLE:
            print_rows(output, _COLUMNS, [_row(one) for one in letters])


def _row(letter: Mapping[str, Any]) -> tuple[object, ...]:
    wrong = (f"{one['field']}: {one['reason']} ({one['code']})" for one in letter["violations"])
    position = f"{letter['topic']}/{letter['partition']}/{letter['offset']}"
    return letter["timestamp"], position, letter["reason"], "\n".join(wrong)


def _jsonable(value: object) -> object:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _jsonable(one) for name, one in value.items()}
        case list():
            return [_jsonable(one) for one in value]
        case _:
            return value
