"""Acknowledge dead letters: what is meant, then the acts."""

from datetime import UTC, datetime

from izin.consent.errors import SourceError
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import kafka_settings, say
from izin.console.terminal.progress import showing_steps
from izin.replay.letters.reading import LetterReader
from izin.replay.letters.selection import LetterSelection
from izin.runtime.kafka import codec
from izin.sinks.ledger import dead_letters
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import LetterKey

_PAGE = 5000


def acknowledge_letters(selection: LetterSelection, *, by: str, reason: str, execute: bool) -> None:
    """Acknowledge the letters of ``selection``, or say how many would be.

    Raises:
        SourceError: a letter that is named does not exist, or is acknowledged already.
        OurError: Kafka or the ledger cannot be reached.
    """
    settings = kafka_settings()
    with showing_steps() as begin:
        progress = begin("reading dead letters")
        reader = LetterReader(settings, codec(settings))
        meant = [one.place for one, _ in reader.select(selection, progress=progress)]
    waiting = run_on_ledger(lambda ledger: _waiting(ledger, meant))
    if unknown := sorted(selection.names - {one.name for one in waiting}):
        raise SourceError(
            f"no dead letter {', '.join(unknown)} waits to be acknowledged; see: izin dead-letters"
        )
    if execute:
        now = datetime.now(UTC)
        run_on_ledger(
            lambda ledger: dead_letters.acknowledge(ledger, waiting, by=by, reason=reason, now=now)
        )
        say(f"{len(waiting)} dead letters are acknowledged by {by}")
    else:
        say(f"{len(waiting)} dead letters would be acknowledged by {by}; add --execute to do it")


async def _waiting(ledger: Ledger, letters: list[LetterKey]) -> list[LetterKey]:
    waiting: list[LetterKey] = []
    for start in range(0, len(letters), _PAGE):
        page = letters[start : start + _PAGE]
        known = await dead_letters.acknowledged(ledger, page)
        waiting += [one for one in page if one not in known]
    return waiting
