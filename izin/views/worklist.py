"""The worklist: everything that needs a person, what can be done until the earliest instant first.

Of a brand's keys only a page is read, and they are counted up to a limit: there may be millions.
The rest is little, and read whole: suspensions, opt-outs that were late, complaints, dead letters.
"""

import io
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from izin.ledger import reads, suspensions
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.db import Ledger, statements
from izin.ledger.record import Suspension
from izin.ledger.registry import complaints
from izin.producers.files.table_formats import write_csv
from izin.runtime.masking import mask
from izin.views import i18n, remedies
from izin.views.cut import CustomerCut
from izin.views.i18n import Language
from izin.views.sentences import Sentence, sentence

MOST = 2000
"""So many records are counted: those of each brand and reason up to their part of it."""
PAGE = 50
_LATE_FOR = timedelta(days=30)
"""Opt-outs that were sent too late are listed so long."""
_NEVER = datetime.max.replace(tzinfo=UTC)
_SQL = statements("worklist")


class Need(StrEnum):
    """Why something needs a person."""

    PARKED = "parked"
    RETAILERS = "retailers"
    """İYS holds other retailers with a consent than its latest event names."""
    REFUSED = "refused"
    HELD_BACK = "held-back"
    SUSPENDED = "suspended"
    BREACH = "breach"
    COMPLAINT = "complaint"
    """Not answered yet, due or not."""
    UNREADABLE = "unreadable"


class WorkPlace(NamedTuple):
    """Where something stands in the worklist."""

    until: datetime
    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """Something that needs a person."""

    kind: Need
    id: str
    """What it is among those of its kind: a key, a number. May name a recipient."""
    brand_code: int | None
    customer_id: str | None = None
    """Whose it is, where it is of no brand."""
    channel: str = ""
    recipient: str = ""
    status: str = ""
    reason: str = ""
    """The word for why; of what İYS refused its code."""
    why: Sentence
    remedy: Sentence
    until: datetime | None = None
    since: datetime
    event_id: str | None = None
    records: int = 1
    of: Suspension | AutomaticSuspension | None = None

    @property
    def place(self) -> WorkPlace:
        """Where it stands."""
        return WorkPlace(self.until or _NEVER, self.kind, self.id)

    def name(self, *, is_shown: bool) -> str:
        """Return the recipient, masked unless it is shown; an empty text where there is none."""
        return self.recipient if is_shown or not self.recipient else mask(self.recipient)


class Group(NamedTuple):
    """How many items there are of a kind, brand and reason."""

    kind: Need
    brand_code: int | None
    reason: str
    items: int
    is_more: bool = False
    """Whether there are more than were counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is listed of the worklist; None: whatever it is."""

    kind: Need | None = None
    brand_code: int | None = None
    reason: str | None = None

    def takes(self, one: WorkItem | Group) -> bool:
        """Return whether it is listed."""
        return (
            self.kind in {None, one.kind}
            and self.brand_code in {None, one.brand_code}
            and self.reason in {None, one.reason}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worklist:
    """A page of the worklist, and how much there is."""

    items: Sequence[WorkItem]
    groups: Sequence[Group]
    """Of everything, listed or not."""
    next: WorkPlace | None
    """From behind where the next page begins; None: this is the last."""


async def worklist(  # noqa: PLR0913  # whose, what of it, which page
    ledger: Ledger,
    cut: CustomerCut,
    wanted: Filter,
    *,
    now: datetime,
    after: WorkPlace | None = None,
    size: int = PAGE,
    letters: Iterable[WorkItem] = (),
) -> Worklist:
    """Return the page of what is ``wanted`` behind ``after``; ``letters`` are dead letters, and
    files with refused rows.
    """
    few = [item async for item in _few(ledger, cut, now)]
    few += [item for item in letters if cut.has(item.customer_id or item.brand_code)]
    counted = Counter((item.kind, item.brand_code, item.reason) for item in few)
    brands = None if cut.customer_id is None else sorted(cut.brand_codes)
    values = {"brands": brands, "now": now, "most": MOST}
    groups = [
        Group(Need(row["kind"]), row["brand_code"], row["why"], row["records"], row["is_more"])
        for row in await ledger.fetch(_SQL["groups"], values)
    ]
    items = [one for one in few if wanted.takes(one) and (after is None or one.place > after)]
    items += await _of_keys(ledger, [*filter(wanted.takes, groups)], after, now, size + 1)
    items.sort(key=lambda item: item.place)
    return Worklist(
        items=items[:size],
        groups=[*groups, *(Group(*group, count) for group, count in counted.items())],
        next=items[size - 1].place if len(items) > size else None,
    )


async def every(  # noqa: PLR0913  # whose, what of it, how much
    ledger: Ledger,
    cut: CustomerCut,
    wanted: Filter,
    *,
    now: datetime,
    most: int,
    letters: Sequence[WorkItem] = (),
) -> list[WorkItem]:
    """Return everything that is ``wanted``, ``most`` at most."""
    found, after = list[WorkItem](), None
    while len(found) < most:
        page = await worklist(
            ledger, cut, wanted, now=now, after=after, size=min(5000, most), letters=letters
        )
        found += page.items
        after = page.next
        if after is None:
            break
    return found[:most]


async def named(
    ledger: Ledger, cut: CustomerCut, names: Collection[tuple[str, str]], *, now: datetime
) -> list[WorkItem]:
    """Return those of these items, by kind and id, about which something can be done now."""
    values = {
        kind.value: [id_ for one, id_ in names if one == kind]
        for kind in (Need.PARKED, Need.RETAILERS)
    }
    found = [*map(_of_key, await ledger.fetch(_SQL["of-keys"], values))]
    few = [item async for item in _few(ledger, cut, now) if (item.kind, item.id) in names]
    return [*(item for item in found if cut.has(item.brand_code)), *few]


def title_of(group: Group) -> Sentence:
    """Return why the items of a group need a person."""
    match group.kind:
        case Need.PARKED | Need.RETAILERS:
            return remedies.why_parked(group.reason, None)
        case Need.REFUSED:
            return remedies.why_refused(group.reason or None)
        case _:
            return sentence("%(reason)s", reason=group.reason)


async def _of_keys(
    ledger: Ledger, groups: Sequence[Group], after: WorkPlace | None, now: datetime, size: int
) -> list[WorkItem]:
    """Return the first of these groups behind a place."""
    if not groups:
        return []
    places = [_behind(group, after, now) for group in groups]
    values = {
        "kinds": [str(group.kind) for group in groups],
        "codes": [group.brand_code for group in groups],
        "whys": [group.reason for group in groups],
        "untils": [until for until, _ in places],
        "keys": [key for _, key in places],
        "size": size,
    }
    return [*map(_of_key, await ledger.fetch(_SQL["page"], values))]


def _behind(group: Group, after: WorkPlace | None, now: datetime) -> tuple[str, str]:
    """Return from behind which instant and key the records of a group are listed."""
    # What İYS refused cannot be corrected any more once its term is over.
    first = now.isoformat() if group.kind is Need.REFUSED else "-infinity"
    if after is None or (group.kind is Need.REFUSED and after.until < now):
        return first, ""
    key = after.id if group.kind == after.kind else "" if group.kind > after.kind else "~"
    return "infinity" if after.until == _NEVER else after.until.isoformat(), key


def _of_key(row: Mapping[str, Any]) -> WorkItem:
    kind, code, brand, why = Need(row["kind"]), row["code"], row["brand_code"], row["why"]
    if kind is Need.REFUSED:
        because, remedy = remedies.why_refused(code), sentence(remedies.CORRECT)
    else:
        because = remedies.why_parked(why, code)
        remedy = remedies.remedy_of_parked(brand, why, key="RECIPIENT")
    return WorkItem(
        kind=kind,
        id=row["key"],
        reason=why,
        why=because,
        remedy=remedy,
        **{
            name: row[name]
            for name in ("brand_code", "channel", "recipient", "status", "until", "since")
        },
        event_id=row["event_id"],
    )


async def _few(ledger: Ledger, cut: CustomerCut, now: datetime) -> AsyncIterator[WorkItem]:
    """Yield what is suspended, held back, complained of, and was late."""
    for some in (_stopped(ledger, cut), _complained(ledger, cut), _late(ledger, cut, now)):
        async for item in some:
            yield item


async def _stopped(ledger: Ledger, cut: CustomerCut) -> AsyncIterator[WorkItem]:
    """Yield what is suspended, and held back."""
    found = [one for one in await suspensions.every(ledger) if cut.has(one.brand_code)]
    behind = await ledger.fetch(_SQL["behind"], {"most": MOST // 10}) if found else []
    waits = {(row["brand_code"], row["channel"], row["status"]): row for row in behind}
    for one in found:
        waiting = waits.get((one.brand_code, one.channel, one.status), {})
        yield WorkItem(
            kind=Need.SUSPENDED,
            id=f"{one.brand_code}/{one.channel}/{one.status}",
            brand_code=one.brand_code,
            channel=one.channel,
            status=one.status,
            reason=one.code,
            why=remedies.why_suspended(one),
            remedy=remedies.remedy_of_suspension(one, found),
            until=waiting.get("due_at"),
            since=one.since,
            records=waiting.get("records", 0),
            of=one,
        )
    for held in await decisions.undecided(ledger):
        if cut.has(held.brand_code):
            yield WorkItem(
                kind=Need.HELD_BACK,
                id=str(held.id),
                brand_code=held.brand_code,
                status=held.status,
                reason=held.source,
                why=remedies.held_back(held),
                remedy=remedies.remedy_of_automatic(held),
                until=held.first_until,
                since=held.tripped_at,
                records=held.held_back,
                of=held,
            )


async def _complained(ledger: Ledger, cut: CustomerCut) -> AsyncIterator[WorkItem]:
    """Yield the complaints that are not closed."""
    for entered in await complaints.every(ledger):
        if cut.has(entered.customer_id):
            yield WorkItem(
                kind=Need.COMPLAINT,
                id=str(entered.id),
                brand_code=entered.brand_code,
                channel=entered.channel,
                recipient=entered.recipient,
                why=sentence("complaint %(id)s is not closed", id=entered.id),
                remedy=sentence(remedies.ANSWER, complaint=remedies.complaint(entered.id)),
                until=entered.due_at,
                since=entered.entered_at,
            )


async def _late(ledger: Ledger, cut: CustomerCut, now: datetime) -> AsyncIterator[WorkItem]:
    """Yield the opt-outs that were sent too late."""
    for row in await reads.breaches(ledger, customer_id=cut.customer_id):
        if row["occurred_at"] >= now - _LATE_FOR:
            brand, channel, _, recipient = row["key"].split("/", 3)
            yield WorkItem(
                kind=Need.BREACH,
                id=f"{row['occurred_at'].isoformat()}/{row['key']}",
                brand_code=int(brand),
                channel=channel,
                recipient=recipient,
                status="RET",
                why=sentence(
                    "sent to İYS on %(sent)s, after its third business day: %(due)s",
                    sent=row["occurred_at"],
                    due=datetime.fromisoformat(row["due_at"]),
                ),
                remedy=sentence(remedies.LATE, explain=remedies.EXPLAIN),
                since=row["occurred_at"],
                event_id=row["event_id"],
            )


HEADER = (
    *("kind", "brand", "channel", "recipient", "status", "records", "reason", "what to do"),
    *("until", "from when"),
)
"""The columns of the file, in English."""


def file_of(items: Iterable[WorkItem], language: Language, *, is_shown: bool) -> bytes:
    """Return items as CSV that Excel in Turkey opens; recipients are masked, unless shown."""
    stream = io.BytesIO()
    text, when = i18n.text, i18n.when
    rows = (
        (
            text(language, item.kind),
            str(item.brand_code or ""),
            item.channel,
            item.name(is_shown=is_shown),
            item.status,
            str(item.records),
            text(language, item.why),
            text(language, item.remedy),
            "" if item.until is None else when(language, item.until),
            when(language, item.since),
        )
        for item in items
    )
    write_csv(stream, [text(language, title) for title in HEADER], rows)
    return stream.getvalue()
