"""What became of a loading: followed until İYS has answered all, and the consents that are void.

Afterwards the events are followed into the ledger, and the ledger's obligations until İYS has
answered all of them, so that the time that it took stands beside the forecast.

A consent that was not registered in time is void (Yönetmelik m.7/12), and may not be asked for by a
commercial message: that message would need the consent itself (6563 m.6/1). So the list says in
each of its rows that it is none to send to, and has no column that an import of consents needs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from izin.consent.due_dates import TURKEY
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.streams.ownership.positions import DecidedOffsets

_SQL = statements("onboarding")
_EVERY = 2.0
"""Seconds between two looks."""
Pause = Callable[[float], Awaitable[None]]
_PAGE = 5000
NOTICE = (
    "GÖNDERİM LİSTESİ DEĞİLDİR: onay, ticari iletiyle istenemez (6563 m.6/1) / NO SEND LIST: a "
    "consent may not be asked for by a commercial message"
)
"""What each row begins with."""
WAYS = (
    ("sonraki ziyaret", "next visit"),
    ("sipariş veya üyelik formu", "order or membership form"),
    ("alıcının kendi araması", "a call that the recipient makes"),
    ("İYS'nin ViA formu", "İYS's ViA form"),
)
"""The lawful ways to a new consent, in Turkish and English."""
HEADER = (
    "uyarı/notice",
    "marka/brand",
    "kanal/channel",
    "alıcı tipi/recipient type",
    "alıcı/recipient",
    "onay verildi/given",
    "geçersiz oldu/void since",
    "yeni onay için/ways to a new one",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCount:
    """What of some brands is not settled."""

    open: int
    """On its way to İYS."""
    for_person: int
    """Parked, held back by a brake, or suspended."""


OnOpen = Callable[[OpenCount], None]


async def open_of(ledger: Ledger, brand_codes: Collection[int]) -> OpenCount:
    """Return what of these brands is not settled."""
    values = {"brand_codes": sorted(brand_codes)}
    (row,) = await ledger.fetch(_SQL["open"], values)
    return OpenCount(**row)


async def await_settled(
    ledger: Ledger,
    brand_codes: Collection[int],
    *,
    on_open: OnOpen,
    pause: Pause = asyncio.sleep,
) -> OpenCount:
    """Wait until nothing of these brands is on its way to İYS; return what waits for a person."""
    while True:
        found = await open_of(ledger, brand_codes)
        on_open(found)
        if not found.open:
            return found
        await pause(_EVERY)


async def await_ingested(
    ledger: Ledger,
    settings: KafkaSettings,
    codec: Codec,
    *,
    on_behind: Callable[[int], None],
    pause: Pause = asyncio.sleep,
) -> None:
    """Wait until the ledger has every event that is on the topics now; ``on_behind`` is called with
    how many are not ordered, and then with how many decisions it has not.

    Raises:
        BrokerError: Kafka cannot be read.
    """
    topics = settings.topics
    written = await _ends(settings, topics.events.name, topics.express.name)
    decided = DecidedOffsets(settings, codec)
    try:
        while behind := _behind(await asyncio.to_thread(decided.read), written):
            on_behind(behind)
            await pause(_EVERY)
    finally:
        decided.close()
    decisions = await _ends(settings, topics.decisions.name)
    while behind := _behind(await reads.ingested(ledger), decisions):
        on_behind(behind)
        await pause(_EVERY)


async def _ends(settings: KafkaSettings, *topics: str) -> dict[tuple[str, int], int]:
    return {
        (topic, number): end
        for topic in topics
        for number, end in (await asyncio.to_thread(kafka.committed_ends, settings, topic)).items()
    }


def _behind(positions: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    """Return how many offsets ``positions`` are short of ``ends``."""
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidConsent:
    """A consent that became void. Contains personal data."""

    key: str
    brand_code: int
    channel: str
    recipient_type: str
    recipient: str
    desired_at: datetime
    expires_at: datetime | None


async def void_consents(ledger: Ledger, brand_codes: Collection[int]) -> AsyncIterator[VoidConsent]:
    """Yield the consents of these brands that became void, in the order of their keys."""
    after = ""
    while True:
        values = {"after": after, "brand_codes": sorted(brand_codes), "size": _PAGE}
        rows = await ledger.fetch(_SQL["void"], values)
        for row in rows:
            yield VoidConsent(**row)
        if len(rows) < _PAGE:
            return
        after = rows[-1]["key"]


def row_of(one: VoidConsent) -> list[str]:
    """Return the cells of a void consent under ``HEADER``."""
    return [
        NOTICE,
        str(one.brand_code),
        one.channel,
        one.recipient_type,
        f"'{one.recipient}" if one.recipient.startswith("+") else one.recipient,
        _turkish(one.desired_at),
        _turkish(one.expires_at),
        "; ".join(f"{turkish}/{english}" for turkish, english in WAYS),
    ]


def _turkish(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}"
