"""The complaints: what is due next, and the archive of evidence that answers one."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from izin.evidence import collection
from izin.evidence.collection import EvidenceRequest
from izin.evidence.verification import Evidence
from izin.ledger.db import Ledger
from izin.ledger.record import TopicMessages
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint
from izin.views.cut import CustomerCut

OPEN, OVERDUE, CLOSED = "open", "overdue", "closed"


def state_of(one: Complaint, now: datetime) -> str:
    """Return whether a complaint is open, overdue or closed."""
    if one.closed_at is not None:
        return CLOSED
    return OVERDUE if one.is_overdue(now) else OPEN


async def listed(
    ledger: Ledger, cut: CustomerCut, *, closed: bool = False, brand_code: int | None = None
) -> list[Complaint]:
    """Return the open complaints of a customer, or of all: what is due first; with ``closed`` those
    that are closed, too.
    """
    found = await complaints.every(ledger, closed=closed, brand_code=brand_code)
    return [one for one in found if cut.has(one.brand_code)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceArchive:
    """An archive of evidence (ZIP), whose digest the history has."""

    evidence: Evidence
    content: bytes
    sha256: str


async def evidence_archive(
    ledger: Ledger, topic_messages: TopicMessages, request: EvidenceRequest, *, now: datetime
) -> EvidenceArchive:
    """Return the evidence that is asked for; who asked, and why, is in the history then.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: the ledger has nothing of the recipient for it.
        UnprovenHistoryError: the history was changed: its links do not lead to its anchors.
    """
    evidence = await collection.collect(ledger, topic_messages, request, now=now)
    content = evidence.packed()
    sha256 = hashlib.sha256(content).hexdigest()
    await collection.record(ledger, request, evidence, sha256=sha256, now=now)
    return EvidenceArchive(evidence=evidence, content=content, sha256=sha256)


async def answer(
    ledger: Ledger, topic_messages: TopicMessages, one: Complaint, *, by: str, now: datetime
) -> tuple[str, bytes]:
    """Attach the evidence that answers a complaint, as of the message's instant; return the name of
    its archive, and the archive.

    Raises as :func:`evidence_archive` does.
    """
    request = EvidenceRequest(
        recipient=one.recipient,
        brand_code=one.brand_code,
        channel=None,
        at=one.sent_at,
        by=by,
        reason=f"complaint {one.id}",
    )
    made = await evidence_archive(ledger, topic_messages, request, now=now)
    name = f"izin-sikayet-{one.id}-{now:%Y%m%d-%H%M}.zip"
    await complaints.attach(ledger, one.id, path=name, sha256=made.sha256, by=by, now=now)
    return name, made.content
