"""Dead letters, which are in Kafka, with what became of them, which is in the ledger."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import psycopg
from pydantic import ValidationError

from izin.consent.errors import IzinError
from izin.console.read_topic import TopicRecord
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import say
from izin.replay.letters.letter import Content, Letter
from izin.sinks.ledger import dead_letters
from izin.sinks.ledger.dead_letters import UNTOUCHED, Acknowledgement, LetterKey, LetterStatus

_PAGE = 5000


def key_of(topic: str, letter: TopicRecord) -> LetterKey:
    """Return the key of a dead letter that was read from ``topic``."""
    return LetterKey(
        topic=topic,
        partition=letter.partition,
        offset=letter.offset,
        digest=letter.value["value_sha256"],
    )


def statuses(letters: Iterable[LetterKey]) -> Mapping[LetterKey, LetterStatus] | None:
    """Return what became of those of ``letters`` about which anything was done; None where the
    ledger cannot be read.

    The letters concern people who have no ledger, too: those of an order worker's machine.
    """
    asked = tuple(letters)
    if not asked:
        return {}
    try:
        return run_on_ledger(lambda ledger: dead_letters.statuses(ledger, asked))
    except (ValidationError, IzinError, psycopg.Error):
        return None


def acknowledged(letters: Iterable[LetterKey]) -> Mapping[LetterKey, Acknowledgement] | None:
    """Return who has acknowledged which of ``letters``; None where the ledger cannot be read."""
    found = statuses(letters)
    if found is None:
        return None
    return {
        letter: status.acknowledgement
        for letter, status in found.items()
        if status.acknowledgement is not None
    }


def with_statuses(
    letters: Iterator[tuple[Letter, Content | None]],
) -> Iterator[tuple[Letter, Content | None, LetterStatus]]:
    """Yield ``letters`` with what became of each, some thousands at a time; where the ledger cannot
    be read, which is said once, nothing is known.
    """
    is_said = False
    while page := list(islice(letters, _PAGE)):
        known = statuses(letter.place for letter, _ in page)
        if known is None and not is_said:
            say("the ledger cannot be read (DATABASE_URL), so it is not shown what became of which")
            is_said = True
        for letter, content in page:
            yield letter, content, (known or {}).get(letter.place, UNTOUCHED)
