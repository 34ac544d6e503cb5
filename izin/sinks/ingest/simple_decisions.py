"""What a row learns of a plain decision: as ``facts`` has it learn, in a tenth of the time.

What many decisions share (their voice) is read once, by the codec and by ``facts``; what is one
decision's own is cut out of its bytes. A decision that is not plain is left to ``facts``.
"""

from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.model import OriginRank, Status
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.sinks.ingest.decision_reader import Cut, DecisionReader, Read, TemplateKey, is_prompt
from izin.sinks.record import apply
from izin.sinks.record.row import ConsentRow

_SHARED = (
    "customer_id",
    "desired_status",
    "desired_rank",
    "desired_origin",
    "desired_source",
    "notice_version",
    "registrable",
    "attested",
    "retailer_code",
    "retailer_access",
    "state",
    "action",
    "reason",
    "code",
    "attempts",
    "next_attempt_at",
    "lease_owner",
    "lease_until",
)
"""The columns that the newest statement of a key sets, but for those that are its own."""


class _Heard(NamedTuple):
    """What the decisions of one voice have a row learn."""

    first: ConsentRow
    """A key's first row, of which key, recipient and the statement's own columns are another's."""
    shared: dict[str, Any]
    is_ret: bool


class FastApply:
    """Has rows learn what the law has decided."""

    def __init__(self, reader: DecisionReader) -> None:
        self._reader = reader
        self._heard: dict[tuple[TemplateKey, bool], _Heard] = {}

    def decided(self, entry: ConsentRow | None, read: Read, now: datetime) -> ConsentRow:
        """Return the row once the law has decided ``read``, as ``facts.decided`` does."""
        cut = read.cut
        if cut is None:
            return apply.decided(entry, self._reader.decode(read.value), now)
        template_key = cut.template_key, is_prompt(cut)
        heard = self._heard.get(template_key) or put(
            self._heard, template_key, self._hear(read, now)
        )
        if entry is None:
            return heard.first.replace(
                key=read.key,
                recipient=cut.recipient.decode(),
                latest_onay_at=_moment(cut.latest_onay),
                latest_ret_at=_moment(cut.latest_ret),
                updated_at=now,
                **_own(cut),
            )
        onay = apply.latest(entry.latest_onay_at, _moment(cut.latest_onay))
        ret = apply.latest(entry.latest_ret_at, _moment(cut.latest_ret))
        own = _own(cut)
        event_id = own["desired_event_id"]
        order = own["desired_at"], heard.is_ret, OriginRank.OURS, event_id
        if not apply.is_outranked(entry, order):
            return entry.replace(latest_onay_at=onay, latest_ret_at=ret)
        if entry.is_of(event_id, heard.shared["desired_status"]):
            dates = {name: own[name] for name in ("desired_at", "desired_consent_date")}
            return entry.replace(latest_onay_at=onay, latest_ret_at=ret, **dates)
        return entry.replace(latest_onay_at=onay, latest_ret_at=ret, **heard.shared, **own)

    def _hear(self, read: Read, now: datetime) -> _Heard:
        first = apply.decided(None, self._reader.decode(read.value), now)
        shared = {name: first.__dict__[name] for name in _SHARED}
        return _Heard(first, shared, first.desired_status == Status.RET)


def _own(cut: Cut) -> dict[str, Any]:
    """Return the columns that the newest statement of a key sets by itself."""
    return {
        "desired_at": _moment(cut.effective),
        "desired_event_id": cut.event_id.decode(),
        "desired_origin_ref": None if cut.origin_ref is None else cut.origin_ref.decode(),
        "desired_consent_date": _moment(cut.consent_date),
        "received_at": _moment(cut.received),
    }


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else EPOCH + milliseconds * MILLISECOND
