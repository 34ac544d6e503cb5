"""What the citizen's page shows of a recipient: brands and channels, movements, deliveries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from iys_simulator.clock import wire_text
from iys_simulator.other_writers import FIRST_ON_THE_WEB, LINE_CLOSED, ON_THE_WEB
from iys_simulator.rules.recipients import channels_of
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement
from iys_simulator.store.push_connections import DeliveryAttempt, DeliveryFailure

CHANNEL_NAMES: Final = {"ARAMA": "Arama", "MESAJ": "Mesaj", "EPOSTA": "E-posta"}
RECIPIENT_TYPE_NAMES: Final = {"BIREYSEL": "Bireysel", "TACIR": "Tacir"}
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
_MONTHS: Final = (
    "Ocak",
    "Şubat",
    "Mart",
    "Nisan",
    "Mayıs",
    "Haziran",
    "Temmuz",
    "Ağustos",
    "Eylül",
    "Ekim",
    "Kasım",
    "Aralık",
)
_FAILURES: Final[dict[str, str]] = {
    DeliveryFailure.UNREACHABLE: "Ulaşmadı: adrese bağlanılamadı",
    DeliveryFailure.TIMED_OUT: "Ulaştığı bilinmiyor: adres zamanında yanıt vermedi",
    DeliveryFailure.DISCONNECTED: "Ulaştığı bilinmiyor: yanıt gelmeden bağlantı koptu",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelLine:
    """One channel of a brand; `record` is None where the recipient has none."""

    channel: str
    record: Movement | None
    push_addresses: int

    @property
    def name(self) -> str:
        """The channel's Turkish name."""
        return CHANNEL_NAMES[self.channel]

    @property
    def status(self) -> str:
        """The record's status, empty where there is none."""
        return self.record.status if self.record else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrandCard:
    """A brand with the channels that reach the recipient."""

    brand: Brand
    lines: Sequence[ChannelLine]

    @property
    def is_known(self) -> bool:
        """Whether the brand has a record of the recipient."""
        return any(line.record for line in self.lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEntry:
    """A movement of the recipient, at a brand."""

    brand: Brand
    movement: Movement


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryEntry:
    """A push delivery of the recipient's movements: its time (a wire text), its brand."""

    at: str
    brand_name: str
    attempt: DeliveryAttempt

    @property
    def result(self) -> str:
        """What became of it, in a Turkish sentence."""
        result = self.attempt.result
        if result in _FAILURES:
            return _FAILURES[result]
        is_accepted = result.startswith("2")
        return (
            "Ulaştı" if is_accepted else f"Ulaşmadı: adres bildirimi kabul etmedi (HTTP {result})"
        )


def brand_cards(state: SimulatorState, recipient: str, recipient_type: str) -> Iterator[BrandCard]:
    """Yield every brand with its records of `recipient`, in the order the brands were added."""
    for brand in state.directory.brands.values():
        register = state.register_of(brand.code)
        active = [one for one in state.push.registrations_of(brand.code) if one.is_active]
        yield BrandCard(
            brand=brand,
            lines=[
                ChannelLine(
                    channel=channel,
                    record=register.find((channel, recipient_type, recipient)),
                    push_addresses=sum(one.connection.type == channel for one in active),
                )
                for channel in channels_of(recipient)
            ],
        )


def history(state: SimulatorState, known: Sequence[BrandCard]) -> list[HistoryEntry]:
    """Return the movements of the records of `known` brands, the latest first."""
    found = [
        HistoryEntry(brand=card.brand, movement=movement)
        for card in known
        for line in card.lines
        if line.record
        for movement in state.register_of(card.brand.code).history_of(line.record.key)
    ]
    found.sort(key=lambda entry: (entry.movement.second, entry.movement.sequence), reverse=True)
    return found


def delivery_entries(state: SimulatorState, recipient: str) -> list[DeliveryEntry]:
    """Return the deliveries with movements of `recipient`, the latest first."""
    brands = state.directory.brands
    return [
        DeliveryEntry(
            at=wire_text(attempt.second),
            brand_name=brands[attempt.brand_code].name if attempt.brand_code in brands else "",
            attempt=attempt,
        )
        for attempt in reversed(state.push.attempts)
        if recipient in attempt.recipients
    ]


def source_in_words(source: str) -> str:
    """Return a source in words for a citizen; an unknown one unchanged."""
    return _SOURCE_NAMES.get(source, source)


def date_in_words(text: str) -> str:
    """Return a wire text as people in Turkey write it: `17 Eylül 2026 12:00`."""
    at = datetime.fromisoformat(text)
    return f"{at.day} {_MONTHS[at.month - 1]} {at:%Y %H:%M}"
