"""Complaints about messages, entered by people: İYS has no API for them.

A complaint names the message, the recipient and by when the request itself is to be answered; no
rule gives a day. While it is open, a legal hold keeps the history of the keys that it concerns; it
is kept for ten years after it was closed, as every record is (6563 m.11/3). What is done about it
is an entry of the history that names nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from izin.consent import Channel, ConsentKey, RecipientType
from izin.ledger import brands, retention
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import complaint_key, record_act
from izin.ledger.record import ClosedComplaintError, UnknownComplaintError, UnregisteredBrandError

_SQL = statements("complaints")


class ComplaintOutcome(StrEnum):
    """What became of a complaint."""

    UNFOUNDED = "unfounded"
    """The authority found that the message was allowed."""
    JUSTIFIED = "justified"
    """The message was not allowed; without a fine."""
    FINED = "fined"
    WITHDRAWN = "withdrawn"
    """The recipient takes it back, or the authority does not follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewComplaint:
    """What a person enters."""

    brand_code: int
    channel: Channel
    recipient: str
    """Normalised."""
    sent_at: datetime
    """When the message was sent, by the complaint."""
    sender: str
    """The name or number it came from."""
    content: str
    reference: str | None
    """The number of the file at the authority."""
    due_at: datetime | None
    """By when the request is to be answered, as it says; None: it names no day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint(NewComplaint):
    """A complaint as the ledger has it."""

    id: int
    customer_id: str
    entered_at: datetime
    entered_by: str
    hold_ids: tuple[int, ...]
    """The legal holds that keep the history of its keys while it is open."""
    evidence_path: str | None
    evidence_sha256: str | None
    closed_at: datetime | None
    closed_by: str | None
    outcome: str | None
    note: str | None

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is open past the day that the request names."""
        return self.closed_at is None and self.due_at is not None and self.due_at < now

    @property
    def keys(self) -> list[str]:
        """The keys that it may concern: of either recipient type."""
        return [
            str(
                ConsentKey(
                    brand_code=self.brand_code,
                    channel=Channel(self.channel),
                    recipient_type=recipient_type,
                    recipient=self.recipient,
                )
            )
            for recipient_type in RecipientType
        ]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the complaint of a row of ``complaints``."""
        channel, holds = Channel(row["channel"]), tuple(row["hold_ids"])
        return cls(**{**row, "channel": channel, "hold_ids": holds})


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplaintCounts:
    """How many complaints wait."""

    open: int
    overdue: int


async def add(ledger: Ledger, new: NewComplaint, *, by: str, now: datetime) -> Complaint:
    """Enter a complaint, and hold the history of its keys; return it.

    Raises:
        UnregisteredBrandError: its brand is not registered.
    """
    async with ledger.transaction() as connection:
        brand = (await brands.of_codes(connection, {new.brand_code})).get(new.brand_code)
        if brand is None:
            raise UnregisteredBrandError(new.brand_code)
        values = {name: getattr(new, name) for name in NewComplaint.__dataclass_fields__}
        values |= {"customer_id": brand.customer_id, "by": by, "now": now}
        added = await _changed(connection, "add", values)
        holds = [
            await retention.place(
                connection,
                added.customer_id,
                key=key,
                reason=f"complaint {added.id}",
                by=by,
                now=now,
            )
            # Nothing is known of the other recipient type, and no hold shall be all that is.
            for key in await retention.keys_of(connection, added.customer_id, added.keys)
            or added.keys
        ]
        added = await _changed(connection, "held", {"id": added.id, "hold_ids": holds})
        after = {
            "brand": added.brand_code,
            "channel": str(added.channel),
            "sent_at": added.sent_at,
            "reference": added.reference,
            "due_at": added.due_at,
            "holds": holds,
        }
        await record_act(
            connection,
            "add complaint",
            complaint_key(added.id),
            by=by,
            now=now,
            before={},
            after=after,
            customer_id=added.customer_id,
        )
    return added


async def attach(  # noqa: PLR0913  # what to which complaint, and by whose order
    ledger: Ledger, number: int, *, path: str, sha256: str, by: str, now: datetime
) -> Complaint:
    """Attach an archive of evidence to a complaint, in place of one before; return it.

    Raises:
        UnknownComplaintError: there is none of this number.
    """
    async with ledger.transaction() as connection:
        before = await _locked(connection, number)
        attached = await _changed(
            connection, "attach", {"id": number, "path": path, "sha256": sha256}
        )
        await record_act(
            connection,
            "attach evidence",
            complaint_key(attached.id),
            by=by,
            now=now,
            before={"sha256": before.evidence_sha256},
            after={"sha256": sha256},
            customer_id=attached.customer_id,
        )
    return attached


async def close(  # noqa: PLR0913  # how, which, and by whose order
    ledger: Ledger,
    number: int,
    *,
    outcome: ComplaintOutcome,
    note: str | None,
    by: str,
    now: datetime,
) -> Complaint:
    """Close a complaint with its outcome, and release its legal holds; return it.

    Raises:
        UnknownComplaintError: there is none of this number.
        ClosedComplaintError: it is closed.
    """
    async with ledger.transaction() as connection:
        if (await _locked(connection, number)).closed_at is not None:
            raise ClosedComplaintError(number)
        values = {"id": number, "outcome": outcome, "note": note, "by": by, "now": now}
        closed = await _changed(connection, "close", values)
        for hold in closed.hold_ids:
            await retention.end(connection, hold, by=by, now=now)
        await record_act(
            connection,
            "close complaint",
            complaint_key(closed.id),
            by=by,
            now=now,
            before={},
            after={"outcome": str(outcome), "holds": list(closed.hold_ids)},
            customer_id=closed.customer_id,
        )
    return closed


async def every(
    ledger: Ledger, *, closed: bool = False, brand_code: int | None = None
) -> tuple[Complaint, ...]:
    """Return the open complaints, what is due first, and with ``closed`` those that are closed."""
    return tuple(
        Complaint.from_row(row)
        for row in await ledger.fetch(_SQL["list"], {"closed": closed, "brand_code": brand_code})
    )


async def of_recipient(
    ledger: Ledger, recipient: str, *, customer: str | None
) -> tuple[Complaint, ...]:
    """Return the complaints of a recipient, of a customer or (None) of all."""
    values = {"recipient": recipient, "customer": customer}
    return tuple(map(Complaint.from_row, await ledger.fetch(_SQL["of-recipient"], values)))


async def find(ledger: Ledger, number: int) -> Complaint:
    """Return a complaint; raises UnknownComplaintError."""
    rows = await ledger.fetch(_SQL["one"], {"id": number})
    if not rows:
        raise UnknownComplaintError(number)
    return Complaint.from_row(rows[0])


async def counts(ledger: Ledger, *, now: datetime) -> ComplaintCounts:
    """Return how many are open, and how many of these are overdue."""
    (row,) = await ledger.fetch(_SQL["counts"], {"now": now})
    return ComplaintCounts(**row)


async def _locked(connection: Connection, number: int) -> Complaint:
    row = await fetch_one(connection, _SQL["lock"], {"id": number})
    if row is None:
        raise UnknownComplaintError(number)
    return Complaint.from_row(row)


async def _changed(connection: Connection, statement: str, values: Mapping[str, Any]) -> Complaint:
    """Run a statement that changes one complaint; return it as it is then."""
    (row,) = await fetch(connection, _SQL[statement], values)
    return Complaint.from_row(row)
