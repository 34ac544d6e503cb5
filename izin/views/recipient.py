"""A recipient: what is known, whether a message may be sent, and what a person does about it.

The answer for an instant is what an archive of evidence says of it: it follows from what had been
recorded by then.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from izin.consent import ConsentKey, SourceError
from izin.consent.next_action import ActionReason
from izin.evidence import collection
from izin.evidence.collection import EvidenceRequest
from izin.evidence.verification import state_at
from izin.kafka.access import KafkaAccess
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.ledger import brands, reads, suspensions
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.db import Ledger
from izin.ledger.history import act, append
from izin.ledger.privacy import erasure
from izin.ledger.privacy.erasure import ErasureFinding
from izin.ledger.reads import History, ParkedKey, RecordedFact
from izin.ledger.record import Brand, ConsentRow, Suspension, TopicMessages
from izin.ledger.webhooks import deliveries
from izin.producers.consent_publisher import ConsentPublisher
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.new_event import NewEvent, accept
from izin.producers.publishing.publisher import Published
from izin.schemas.erasure import SuppressionKeys
from izin.views.complaints import EvidenceArchive, evidence_archive
from izin.views.cut import cut_to, unread
from izin.views.explanation import Explanation
from izin.views.remedies import why_not_sent
from izin.views.sentences import Sentence
from izin.views.words import is_key

ORIGIN: Final = "console"
"""The origin of consents that people enter in the console."""


class Section(NamedTuple):
    """One key of a recipient: its row, where it has one, and what happened to it, to its brand and
    to its customer.
    """

    key: str
    row: ConsentRow | None
    facts: Sequence[RecordedFact]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRecipient:
    """Everything of a recipient."""

    history: History
    brands: Mapping[int, Brand]
    suspensions: Sequence[Suspension]
    automatic: Sequence[AutomaticSuspension]
    sent: Sequence[Mapping[str, Any]]
    """What subscribers took."""
    looks: Sequence[RecordedFact]
    """Who looked at the recipient by name."""
    unread: Sentence | None
    """What keeps the ledger from having all that was published."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the recipient."""
        return bool(self.history.rows or self.history.facts)

    def sections(self) -> Iterator[Section]:
        """Yield the keys: first those that have a row. Others have a history alone: the gate was
        asked about them, or their rows were erased.
        """
        facts, rows = self.history.facts, self.history.rows
        for row in rows:
            keys = {row.key, *reads.concerned(row)}
            yield Section(row.key, row, [fact for fact in facts if fact.key in keys])
        others = _keys_in(self.history) - {row.key for row in rows}
        for key in sorted(others):
            yield Section(key, None, [fact for fact in facts if fact.key == key])

    def suspended(self, said: Explanation, row: ConsentRow) -> str | None:
        """Return what suspends a key or holds it back; None: nothing."""
        brand = self.brands.get(row.brand_code)
        return said.why_suspended(row, brand, self.suspensions) or said.sentence(
            why_not_sent(row, self.automatic)
        )

    def may_send(self, row: ConsentRow) -> bool:
        """Whether a message may be sent to a key now, and nobody has suspended its brand."""
        return row.may_send and self.gate(Explanation(), row) is None

    def gate(self, said: Explanation, row: ConsentRow) -> str | None:
        """Return why a person has suspended what may be sent for the key's brand; None: nobody
        has.
        """
        brand = self.brands.get(row.brand_code)
        return None if brand is None else said.why_closed(brand)


async def find(
    ledger: Ledger, recipient: str, customer: str | None, digests: SuppressionKeys
) -> KnownRecipient:
    """Return everything of a recipient (normalised), or of a canonical key, as far as ``customer``
    may see it; None: everything.
    """
    cut, whole = await cut_to(ledger, customer), await reads.history(ledger, recipient)
    history = History(
        rows=tuple(row for row in whole.rows if cut.has(row.customer_id)),
        facts=tuple(
            fact
            for fact in (*whole.facts, *await erasure.orders(ledger, _keys_in(whole)))
            if cut.has(fact.customer_id)
        ),
    )
    return KnownRecipient(
        history=history,
        brands={brand.brand_code: brand for brand in await brands.every(ledger)},
        suspensions=await suspensions.every(ledger),
        automatic=await decisions.undecided(ledger),
        sent=await deliveries.of_keys(ledger, sorted({one.key for one in history.rows})),
        looks=[
            one
            for one in await reads.facts(ledger, digests.people(recipient))
            if cut.has(one.customer_id)
        ],
        unread=await unread(ledger, datetime.now(UTC)),
    )


def _keys_in(history: History) -> set[str]:
    """Return the keys that have a row or a history."""
    return {row.key for row in history.rows} | {
        fact.key for fact in history.facts if is_key(fact.key)
    }


async def states_at(
    ledger: Ledger, keys: Collection[str], at: datetime
) -> dict[str, Mapping[str, Any]]:
    """Return by key what stood of it at an instant, as evidence says it: ``may_send`` and its
    ``reason``, what was ``desired`` and what ``registered``; a key without a history has none.
    """
    return {
        key: state_at(str(ConsentKey.parse(key).recipient_type), facts, until=at)
        for key, facts in (await collection.facts_of(ledger, keys)).items()
    }


def judged(event: NewEvent, brand: Brand) -> AcceptedRecord | RefusedRecord:
    """Return a consent in hand as it would be published, or every reason why not."""
    return accept(event, ORIGIN, BrandDirectory([brand]))


async def publish(access: KafkaAccess, event: NewEvent) -> Published:
    """Publish a consent in hand; the same value again is the same event.

    Raises:
        EventRefusedError: it has violations.
        OurError: Kafka cannot be reached, or has not acknowledged it.
    """
    async with ConsentPublisher(ORIGIN, access) as publisher:
        return await publisher.publish_async(event)


async def decision_on(ledger: Ledger, key: str, event_id: str) -> RecordedFact | None:
    """Return the decision on an event of a key; None: the ledger does not have it yet."""
    facts = await reads.facts(ledger, [key])
    return next((one for one in facts if (one.kind, one.event_id) == ("decision", event_id)), None)


def needs_confirmation(row: ConsentRow) -> bool:
    """Whether a consent waits for a person to confirm that it is newer than the opt-out that the
    recipient gave at İYS.
    """
    return row.state == "parked" and row.reason == ActionReason.RECONSENT


async def confirm(  # noqa: PLR0913  # what is confirmed, what proves it, and by whom
    ledger: Ledger,
    topic_messages: TopicMessages,
    row: ConsentRow,
    *,
    proof: str,
    by: str,
    now: datetime,
) -> bool:
    """Confirm that the consent of a row as it was shown, which ``needs_confirmation``, is a new
    one, as ``izin brands requeue`` does; return whether it was. One that has changed is left alone.
    What proves it is in the history of the key first; empty: the event itself says it.
    """
    if proof:
        vouched = act(
            *("vouch for consent", row.key),
            by=by,
            now=now,
            before={},
            after={"proof": proof},
            customer_id=row.customer_id,
            event_id=row.desired_event_id,
            status=row.desired_status,
        )
        async with ledger.transaction() as connection:
            await append.append(connection, [vouched], now=now)
    shown = ParkedKey(row.key, row.desired_event_id, row.updated_at)
    reason = str(ActionReason.RECONSENT)
    count = await brands.requeue(
        *(ledger, topic_messages, row.brand_code, [shown]),
        reason=reason,
        whole=False,
        by=by,
        now=now,
    )
    return count > 0


async def evidence_of(
    ledger: Ledger,
    topic_messages: TopicMessages,
    request: EvidenceRequest,
    *,
    now: datetime,
    customer: str | None,
) -> EvidenceArchive:
    """Return the evidence that is asked for, of a ``customer``, or None: of all.

    Raises:
        SourceError: the ledger has nothing of the recipient, or something that is another
            customer's: the proof would be incomplete without it.
        UnprovenHistoryError: the history was changed.
    """
    facts = await collection.facts_of(ledger, request.keys)
    owners = {fact["customer_id"] for some in facts.values() for fact in some}
    if customer is not None and owners - {customer}:
        raise SourceError("the evidence has entries of another customer")
    return await evidence_archive(ledger, topic_messages, request, now=now)


async def erasable(
    ledger: Ledger, recipients: Collection[str], customer: str | None
) -> tuple[ErasureFinding, ...]:
    """Return what stands against the erasure of each key of ``recipients`` (normalised, or
    canonical keys), of a customer or of all.

    Raises:
        SourceError: nothing is known of them.
    """
    keys = [recipient for recipient in recipients if is_key(recipient)]
    others = [one for one in recipients if not is_key(one)]
    for some in (await reads.keys_of(ledger, others)).values():
        keys += some
    found = tuple(
        finding
        for finding in await erasure.findings(ledger, keys)
        if finding.customer_id and customer in {None, finding.customer_id}
    )
    if not found:
        raise SourceError("nothing is known of any recipient given")
    return found


def kept(finding: ErasureFinding) -> tuple[date | None, str]:
    """Return until when the history of a key is kept, and by which article."""
    if not finding.entries:
        return None, ""
    until, evidence = finding.retain_until, finding.evidence_until
    if evidence is not None and (until is None or evidence > until):
        return evidence, "Yönetmelik m.13"
    return until, "" if until is None else "6563 m.11/3"
