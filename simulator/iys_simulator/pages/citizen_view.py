"""What the citizen's page shows of an address: brands and channels, movements, deliveries."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from iys_simulator.clock import wire_text
from iys_simulator.other_writers import FIRST_ON_THE_WEB, LINE_CLOSED, ON_THE_WEB, channels_of
from iys_simulator.rules.fields import is_email, is_phone
from iys_simulator.state import Twin
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement
from iys_simulator.store.push_connections import Sent

CHANNEL_NAMES: Final = {"ARAMA": "Arama", "MESAJ": "Mesaj", "EPOSTA": "E-posta"}
KIND_NAMES: Final = {"BIREYSEL": "Bireysel", "TACIR": "Tacir"}
STATUS_NAMES: Final = {"ONAY": "Onaylı", "RET": "Reddedildi"}
_SOURCE_NAMES: Final = {
    "HS_2015": "1 Mayıs 2015 öncesi kayıt",
    "HS_ATM": "ATM",
    "HS_CAGRI_MERKEZI": "çağrı merkezi",
    "HS_EORTAM": "elektronik ortam",
    "HS_EPOSTA": "e-posta",
    "HS_ETKINLIK": "etkinlik",
    "HS_FIZIKSEL_ORTAM": "fiziksel ortam",
    "HS_ISLAK_IMZA": "ıslak imza",
    "HS_KARAR": "hizmet sağlayıcının kararı",
    "HS_MESAJ": "kısa mesaj",
    "HS_MOBIL": "mobil uygulama",
    "HS_SOSYAL_MEDYA": "sosyal medya",
    "HS_WEB": "web sitesi",
    LINE_CLOSED: "hat kapatma",
    "IYS_CM": "İYS çağrı merkezi",
    "IYS_EPOSTA": "İYS e-postası",
    "IYS_KISAMESAJ": "3338 kısa mesajı",
    "IYS_MOBIL": "İYS mobil",
    ON_THE_WEB: "İYS web",
    FIRST_ON_THE_WEB: "İYS web, ilk kayıt",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One channel of a brand; `record` is None where the address has none."""

    channel: str
    record: Movement | None
    push_addresses: int

    @property
    def name(self) -> str:
        """The channel in words."""
        return CHANNEL_NAMES[self.channel]

    @property
    def status(self) -> str:
        """The record's status, empty where there is none."""
        return self.record.status if self.record else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A brand with the channels that reach the address."""

    brand: Brand
    lines: Sequence[Line]

    @property
    def is_known(self) -> bool:
        """Whether the brand has a record of the address."""
        return any(line.record for line in self.lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A movement of the address, at a brand."""

    brand: Brand
    movement: Movement


@dataclass(frozen=True, kw_only=True, slots=True)
class Trip:
    """A push that carried movements of the address: when (Turkish time), whose, how it ended."""

    at: str
    brand_name: str
    sent: Sent


def address_in(text: str) -> str | None:
    """Give the address a person meant: an e-mail, or a phone however it was written; else None."""
    told = text.strip()
    if "@" in told:
        return told.lower() if is_email(told) else None
    digits = re.sub(r"[\s().-]", "", told)
    if re.fullmatch(r"0?5\d{9}|0[2-4]\d{9}", digits, re.ASCII):
        digits = f"+90{digits.removeprefix('0')}"
    elif re.fullmatch(r"(00)?90[2-58]\d{9}", digits, re.ASCII):
        digits = f"+{digits.removeprefix('00')}"
    return digits if is_phone(digits) else None


def cards(twin: Twin, address: str, kind: str) -> Iterator[Card]:
    """Give every brand with what it has of `address`, in the order the brands were added."""
    for brand in twin.directory.brands.values():
        register = twin.register_of(brand.code)
        standing = [one for one in twin.push.registrations_of(brand.code) if one.stands]
        yield Card(
            brand=brand,
            lines=[
                Line(
                    channel=channel,
                    record=register.find((channel, kind, address)),
                    push_addresses=sum(one.connection.type == channel for one in standing),
                )
                for channel in channels_of(address)
            ],
        )


def steps(twin: Twin, known: Sequence[Card]) -> list[Step]:
    """Give the movements behind the records of `known` brands, the latest first."""
    found = [
        Step(brand=card.brand, movement=movement)
        for card in known
        for line in card.lines
        if line.record
        for movement in twin.register_of(card.brand.code).history_of(line.record.key)
    ]
    found.sort(key=lambda step: (step.movement.second, step.movement.sequence), reverse=True)
    return found


def trips(twin: Twin, address: str) -> list[Trip]:
    """Give the latest deliveries with movements of `address`, the latest first."""
    brands = twin.directory.brands
    return [
        Trip(
            at=wire_text(sent.occurred_at // 1000),
            brand_name=brands[sent.brand_code].name if sent.brand_code in brands else "",
            sent=sent,
        )
        for sent in reversed(twin.push.sent)
        if address in sent.recipients
    ]


def source_in_words(source: str) -> str:
    """Give a source as a citizen would say it; one that is new to us as it is."""
    return _SOURCE_NAMES.get(source, source)
