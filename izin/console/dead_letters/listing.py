"""Dead letters printed: a list of them, or everything of one."""

import sys
from collections import deque
from collections.abc import Iterator

from izin.console.dead_letters.letters import statuses, with_statuses
from izin.console.dead_letters.views import COLUMNS, as_json, detail, detail_rows, row
from izin.console.terminal.ledger_session import Look, look_beside
from izin.console.terminal.output import (
    OutputFormat,
    json_text,
    kafka_settings,
    print_fields,
    print_json,
    print_rows,
    say,
)
from izin.console.terminal.progress import showing_steps
from izin.replay.letters.letter import Letter
from izin.replay.letters.reading import LetterReader, OnProgress
from izin.replay.letters.selection import LetterSelection
from izin.runtime.kafka import codec
from izin.sinks.ledger.dead_letters import UNTOUCHED, LetterStatus

_MOST_ROWS = 1000
"""Rows of a table, unless more are asked for: it needs all of them to be laid out."""


def print_list(
    selection: LetterSelection, output: OutputFormat, *, waiting: bool, limit: int | None, by: str
) -> None:
    """Print the letters of ``selection``, or only those ``waiting``; at most the newest ``limit``.

    Raises OurError where they cannot be read.
    """
    settings = kafka_settings()
    with showing_steps() as begin:
        progress = begin("reading dead letters")
        reader = LetterReader(settings, codec(settings))
        found = _shown(reader, selection, progress, waiting=waiting)
        match output:
            case OutputFormat.JSON:
                look_beside(Look(command="dead-letters list", by=by))
                letters = found if limit is None else iter(deque(found, limit))
                _stream(as_json(letter, status) for letter, status in letters)
                return
            case OutputFormat.TABLE:
                count = 0
                newest = deque[tuple[object, ...]](maxlen=limit or _MOST_ROWS)
                for letter, status in found:
                    newest.append(row(letter, status))
                    count += 1
    print_rows(output, COLUMNS, newest)
    if count > len(newest):
        say(f"the newest {len(newest)} of {count} dead letters; --limit shows more")


def print_letter(name: str, output: OutputFormat, *, unmasked: bool, by: str) -> None:
    """Print everything of the letter ``name``; raises UnknownLetterError."""
    settings = kafka_settings()
    letter, content = LetterReader(settings, codec(settings)).find(name)
    if unmasked:
        people = [] if content is None else [str(content.key or content.event.recipient)]
        look_beside(Look(command="dead-letters show", by=by, people=people))
    status = (statuses([letter.place]) or {}).get(letter.place, UNTOUCHED)
    shown = detail(letter, content, status, unmasked=unmasked)
    match output:
        case OutputFormat.JSON:
            print_json({word.replace(" ", "_"): value for word, value in shown.items()})
        case OutputFormat.TABLE:
            print_fields(detail_rows(shown))


def _shown(
    reader: LetterReader, selection: LetterSelection, progress: OnProgress, *, waiting: bool
) -> Iterator[tuple[Letter, LetterStatus]]:
    for letter, _, status in with_statuses(reader.select(selection, progress=progress)):
        if not waiting or status.acknowledgement is None:
            yield letter, status


def _stream(items: Iterator[object]) -> None:
    """Print ``items`` as a JSON list, each as soon as it is there."""
    sys.stdout.write("[")
    end = "]\n"
    for number, one in enumerate(items):
        sys.stdout.write(("," if number else "") + "\n" + json_text(one).rstrip())
        end = "\n]\n"
    sys.stdout.write(end)
