"""Requests for consent by ViA: İYS asks a person, and registers what they consent to.

One person is asked at a time, on an occasion that they gave: consent must not be asked for by a
commercial message (6563 m.6/1; Yönetmelik m.7), so there is no way to ask many. Nobody is asked who
opted out (RET), here or at İYS, for İYS would register the consent over it; nor more than so many
times in 24 hours.

A request is written here before İYS is called, and a worker calls. What comes of a call that was
not answered is asked of İYS, and the call is never made again: a second code annoys and costs. A
start that was not answered has no id of İYS's, so nothing can be asked; the person is not asked
again until nobody can consent by it any more. If they consent by its link, İYS shows that as it
shows any movement.

    waiting     nobody was asked yet
    asking      the call may be on its way
    asked       the person has a code or a link
    coded       they gave back the code
    confirming  the call with it may be on its way
    consented   İYS has registered the consent
    refused     nobody was asked, or they opted out meanwhile: ``result`` says why
    unknown     the start was not answered
    over        they did not consent: ``result`` says why
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from izin.consent import Channel, ConsentKey, RecipientType
from izin.iys.wire_format.via import ViaStart, ViaWay
from izin.ledger.db import VIA, Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history.append import act, append
from izin.ledger.record import ConcurrentChangeError, LeaseOwner

DAY = timedelta(days=1)
ASKED_WITHIN = timedelta(minutes=2)
"""Who is not asked sooner has left: a code that comes unexpected would only alarm them."""
OPTED_OUT, TOO_LATE, UNANSWERED = "opted-out", "too-late", "unanswered"
CODE_LOST = "code-lost"
"""Results of ours; the others are İYS's codes, and its words for the end of a request."""
_POLL = timedelta(milliseconds=100)
_SAME = ("recipient_type", "channels", "way")
"""In which a request is the one before, repeated."""
_SQL = statements("via")


class Occasion(StrEnum):
    """On which a person is asked; each is theirs, none is a message."""

    FORM = "form"
    """They fill in a form of a web site or app."""
    ACCOUNT = "account"
    """They change the settings of their account."""
    SHOP = "shop"
    """They stand in a shop."""
    CALL = "call"
    """They have called."""


class ViaRefusal(StrEnum):
    """Why a person is not asked."""

    OPTED_OUT = "opted-out"
    ASKED_ALREADY = "asked-already"
    ASKED_TOO_OFTEN = "asked-too-often"


class ViaState(StrEnum):
    """How far a request is."""

    WAITING = "waiting"
    ASKING = "asking"
    ASKED = "asked"
    CODED = "coded"
    CONFIRMING = "confirming"
    CONSENTED = "consented"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    OVER = "over"


MOVING = frozenset({ViaState.WAITING, ViaState.ASKING, ViaState.CODED, ViaState.CONFIRMING})
"""In which a worker is about to call İYS, or calls it."""
ENDS = frozenset({ViaState.CONSENTED, ViaState.REFUSED, ViaState.UNKNOWN, ViaState.OVER})
"""In which nothing more is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRequest:
    """A row of ``via_requests``."""

    id: uuid.UUID
    customer_id: str
    start: ViaStart
    requested_at: datetime
    until: datetime
    """Until when at the latest somebody can consent by it."""
    state: ViaState
    request_id: str
    """İYS's own; empty before it has answered the start."""
    code: str = field(repr=False)
    """What the person gave back, as it is stored; empty where nothing is to be given to İYS."""
    result: str | None
    claims: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return a row as a value."""
        start = ViaStart(
            brand_code=row["brand_code"],
            recipient=row["recipient"],
            recipient_type=RecipientType(row["recipient_type"]),
            channels=tuple(map(Channel, row["channels"])),
            way=ViaWay(row["way"]),
            form_id=row["form_id"],
        )
        same = ("id", "customer_id", "requested_at", "until", "result", "claims")
        return cls(
            start=start,
            state=ViaState(row["state"]),
            request_id=row["request_id"] or "",
            code=row["code"] or "",
            **{name: row[name] for name in same},
        )

    @property
    def keys(self) -> Sequence[ConsentKey]:
        """The keys of what the person is asked for."""
        return [
            ConsentKey(
                brand_code=self.start.brand_code,
                channel=channel,
                recipient_type=self.start.recipient_type,
                recipient=self.start.recipient,
            )
            for channel in self.start.channels
        ]


async def ask(  # noqa: PLR0913  # who is asked, for whom, on what occasion, how often
    ledger: Ledger,
    start: ViaStart,
    *,
    customer_id: str,
    occasion: Occasion,
    by: str,
    most: int,
    now: datetime,
) -> ConsentRequest | ViaRefusal:
    """Have a person asked, and return the request; the open one, or the one by which they consented
    today, where it is for the same; or why they are not asked. ``most`` is how often in 24 hours.
    """
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "customer_id": customer_id,
        **{name: getattr(start, name) for name in ("brand_code", "recipient", "form_id")},
        "recipient_type": str(start.recipient_type),
        "channels": sorted(map(str, start.channels)),
        "keys": [
            f"{start.brand_code}/{channel}/{recipient_type}/{start.recipient}"
            for channel in start.channels
            for recipient_type in RecipientType
        ],
        "way": str(start.way),
        "occasion": str(occasion),
        "by": by,
        "now": now,
        "since": now - DAY,
        "until": now + ASKED_WITHIN + start.way.answered_within,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["one-at-a-time"], values)
        await connection.execute(_SQL["lock"], values)
        (standing,) = await fetch(connection, _SQL["standing"], values)
        if standing["is_opted_out"]:
            return ViaRefusal.OPTED_OUT
        if standing["open_id"] is not None:
            (row,) = await fetch(connection, _SQL["find"], {"id": standing["open_id"]})
            is_same = all(row[name] == values[name] for name in _SAME)
            return ConsentRequest.from_row(row) if is_same else ViaRefusal.ASKED_ALREADY
        if standing["asked"] >= most:
            return ViaRefusal.ASKED_TOO_OFTEN
        (row,) = await fetch(connection, _SQL["add"], values)
        made = ConsentRequest.from_row(row)
        asked = {name: values[name] for name in ("way", "form_id", "occasion")}
        await _record(connection, made, "ask for consent", asked, by, now)
        await connection.execute(f"NOTIFY {VIA}")
    return made


async def find(ledger: Ledger, request: uuid.UUID) -> ConsentRequest | None:
    """Return a request; None: there is none."""
    rows = await ledger.fetch(_SQL["find"], {"id": request})
    return ConsentRequest.from_row(rows[0]) if rows else None


async def give_code(ledger: Ledger, request: uuid.UUID, code: str, *, now: datetime) -> bool:
    """Have İYS given the ``code`` that a person gave back; return whether one is awaited."""
    sealed = ledger.secret_keys.encrypt(code, str(request))
    values = {"id": request, "code": sealed, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(f"NOTIFY {VIA}")
        return await fetch_one(connection, _SQL["give-code"], values) is not None


async def after_calls(
    ledger: Ledger, request: ConsentRequest, *, within: timedelta
) -> ConsentRequest:
    """Return a request once no call is made for it, or as it is ``within`` so long."""
    left = within / _POLL
    while request.state in MOVING and (left := left - 1) > 0:
        await asyncio.sleep(_POLL.total_seconds())
        request = await find(ledger, request.id) or request
    return request


async def claim(ledger: Ledger, owner: LeaseOwner, now: datetime) -> ConsentRequest | None:
    """Take up the request that is due first; None: none is."""
    values = {**owner.who, "now": now, "until": now + owner.lease}
    rows = await ledger.execute(_SQL["claim"], values)
    return ConsentRequest.from_row(rows[0]) if rows else None


async def keys_to_query(ledger: Ledger, request: ConsentRequest) -> Sequence[ConsentKey]:
    """Return the keys of which İYS is asked first what it holds, for the ledger does not know."""
    rows = await ledger.fetch(_SQL["unknown-keys"], {"id": request.id})
    return [ConsentKey.parse(row["key"]) for row in rows]


async def begin(  # noqa: PLR0913  # which call, until when it is of use, how long it takes
    ledger: Ledger,
    request: ConsentRequest,
    to: ViaState,
    *,
    deadline: datetime,
    call_within: timedelta,
    clock: Callable[[], datetime],
) -> bool:
    """Note that a call is about to be written, and return True; False where it must not be: another
    worker has the request, its ``deadline`` is over, or the person opted out.
    """
    now = clock()
    values = {
        "id": request.id,
        "claims": request.claims,
        "from": str(request.state),
        "to": str(to),
        "now": now,
        "deadline": deadline,
        "answered_by": now + call_within,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["lock-request"], values)
        return await fetch_one(connection, _SQL["begin"], values) is not None


async def save(  # noqa: PLR0913  # how far it is, why, and what is next
    connection: Connection,
    request: ConsentRequest,
    state: ViaState,
    *,
    result: str | None = None,
    request_id: str | None = None,
    next_at: datetime | None = None,
    now: datetime,
) -> None:
    """Save how far a request is; its end is in the history too.

    Raises:
        ConcurrentChangeError: another worker has taken it up.
    """
    values = {
        "id": request.id,
        "claims": request.claims,
        "state": str(state),
        "result": result,
        "request_id": request_id,
        "next_at": next_at,
    }
    if await fetch_one(connection, _SQL["save"], values) is None:
        raise ConcurrentChangeError("a request for consent was taken up by another worker")
    if state in ENDS:
        ended = {"state": str(state), "result": result}
        await _record(connection, request, "end request for consent", ended, "izin", now)


async def is_opted_out(ledger: Ledger, request: ConsentRequest) -> bool:
    """Return whether the person opted out of what they are asked for."""
    (row,) = await ledger.fetch(_SQL["is-opted-out"], {"id": request.id})
    return bool(row["is_opted_out"])


async def _record(  # noqa: PLR0913, PLR0917  # what happened, of what, by whose order
    connection: Connection,
    request: ConsentRequest,
    what: str,
    after: Mapping[str, Any],
    by: str,
    now: datetime,
) -> None:
    after = {"request": str(request.id), **after}
    entries = [
        act(
            what,
            str(key),
            by=by,
            now=now,
            before={},
            after={name: value for name, value in after.items() if value is not None},
            customer_id=request.customer_id,
        )
        for key in request.keys
    ]
    await append(connection, entries, now=now)
