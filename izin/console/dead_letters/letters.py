"""Dead letters, which are in Kafka, with their acknowledgements, which are in the ledger."""

from collections.abc import Iterable, Mapping

import psycopg
from pydantic import ValidationError

from izin.consent.errors import IzinError
from izin.console.read_topic import TopicRecord
from izin.console.terminal.ledger_session import run_on_ledger
from izin.sinks.ledger import dead_letters
from izin.sinks.ledger.dead_letters import Acknowledgement, LetterKey


def key_of(topic: str, letter: TopicRecord) -> LetterKey:
    """Return the key of a dead letter that was read from ``topic``."""
    return LetterKey(
        topic=topic,
        partition=letter.partition,
        offset=letter.offset,
        digest=letter.value["value_sha256"],
    )


def acknowledged(letters: Iterable[LetterKey]) -> Mapping[LetterKey, Acknowledgement] | None:
    """Return who has acknowledged which of ``letters``; None where the ledger cannot be read.

    The letters concern people who have no ledger, too: those of an order worker's machine.
    """
    asked = tuple(letters)
    if not asked:
        return {}
    try:
        return run_on_ledger(lambda ledger: dead_letters.acknowledged(ledger, asked))
    except (ValidationError, IzinError, psycopg.Error):
        return None
