"""``izin publish --corrects``: a new event in place of a dead letter."""

from collections.abc import Mapping
from datetime import datetime

from izin.cli.publish import publish_record
from izin.cli.terminal import kafka_settings
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import Violation
from izin.ledger import dead_letters
from izin.ledger.dead_letters import UNTOUCHED
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import read
from izin.producers.publishing.publisher import Published
from izin.replay.dead_letters.correction import CorrectedDeadLetterError, Correction
from izin.replay.dead_letters.reading import DeadLetterReader
from izin.runtime.kafka import codec

_WHY = "corrected"


def publish_correction(
    letter: str, given: Mapping[Field, str], rules: DateRules, *, by: str, now: datetime
) -> tuple[Published, tuple[Violation, ...]]:
    """Publish what corrects ``letter``, with the fields ``given`` and else the letter's; note it in
    the history; return where it is, and what would keep İYS from registering it.

    Raises:
        SourceError: there is no such letter, it is corrected already, or what is given cannot be
            published.
        OurError: Kafka or the ledger cannot be reached.
    """
    settings = kafka_settings()
    correction = Correction(*DeadLetterReader(settings, codec(settings)).find(letter))
    identity = correction.letter.identity
    status = run_on_ledger(lambda ledger: dead_letters.statuses(ledger, [identity]))
    known = status.get(identity, UNTOUCHED)
    if known.corrected_by is not None:
        raise CorrectedDeadLetterError(letter, known.corrected_by)
    parsed, origin = correction.dated(read(correction.fields(given), rules), now)
    where, accepted = publish_record(parsed, origin)
    run_on_ledger(
        lambda ledger: dead_letters.correct(
            ledger,
            identity,
            event_id=where.event_id,
            key=str(accepted.key),
            customer_id=accepted.event.customer_id,
            status=accepted.event.status,
            by=by,
            reason=_WHY,
            now=now,
        )
    )
    return where, accepted.violations
