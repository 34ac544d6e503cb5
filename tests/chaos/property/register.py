"""İYS in memory, for one key: the record with the greatest creation date, and its rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from izin.consent import TURKEY_CALENDAR, Status
from izin.consent.due_dates import term_ends_at
from izin.iys.wire_format import RegisterRecord
from izin.ledger.record import Item

REFUSALS = ("H121", "H999", "H180", "H525", "H103", "H124", "H353", "H162", "H112", "H486")
"""Of content, unknown, a retailer, the quota, İYS's own fault, the pace, a right, a clock."""


@dataclass(slots=True, kw_only=True)
class Register:
    """What İYS holds of the key."""

    record: RegisterRecord | None = None

    def takes(self, record: RegisterRecord) -> bool:
        """Save what a citizen or another provider writes; return whether its date permits that."""
        held, at = self.record, record.consent_date
        is_newer = held is None or held.consent_date is None or at is None or at > held.consent_date
        if is_newer:
            self.record = record
        return is_newer

    def submit(self, item: Item, now: datetime) -> str | None:
        """Save the item and return None, or return the code by which İYS refuses it."""
        held, at = self.record, item.consent_date or now
        if item.status == Status.RET:
            if held is None:
                return "H175"
            if held.status == Status.RET:
                return "H174"
        if held is not None and held.consent_date is not None and held.consent_date >= at:
            return "H178"
        if term_ends_at(at, calendar=TURKEY_CALENDAR) < now:
            return "H467"
        self.record = RegisterRecord(
            recipient=item.key.rsplit("/", 1)[-1],
            type="MESAJ",
            recipient_type="BIREYSEL",
            status=item.status,
            source=item.source,
            consent_date=at,
            creation_date=now,
            transaction_id=f"{int(now.timestamp()):064x}",
        )
        return None

    def is_onay_before(self, ret_at: datetime | None) -> bool:
        """Whether İYS holds an ONAY that was given by ``ret_at``."""
        held = self.record
        if held is None or held.status != Status.ONAY or ret_at is None:
            return False
        is_of_citizen = (held.source or "").startswith("IYS_")
        given_at = held.creation_date if is_of_citizen else held.consent_date
        return given_at is None or given_at <= ret_at


def foreign(random: Random, key: str, now: datetime) -> RegisterRecord:
    """Return what somebody else writes at İYS now: a citizen, or a provider with a date of before.

    The first is of now; the second may be of any day before.
    """
    is_citizen = random.random() < 0.5
    status = "RET" if random.random() < 0.4 else "ONAY"
    ago = timedelta(0) if is_citizen else timedelta(minutes=random.randrange(6000))
    return RegisterRecord(
        recipient=key.rsplit("/", 1)[-1],
        type="MESAJ",
        recipient_type="BIREYSEL",
        status=status,
        source="IYS_WEB" if is_citizen else "HS_WEB",
        consent_date=now - ago,
        creation_date=now,
        transaction_id=f"{int(now.timestamp()):064x}",
    )
