"""The many notations in which a Turkish CRM writes the same consent."""

import random
from dataclasses import dataclass
from datetime import datetime

DELIMITER = ";"
HEADER = (
    "ALICI",
    "İZİN TÜRÜ",
    "İZİN DURUMU",
    "İZİN KAYNAĞI",
    "İZİN TARİHİ",
    "ALICI TİPİ",
    "MARKA",
    "REFERANS",
)
CHANNEL_SHARES = {"MESAJ": 45, "EPOSTA": 30, "ARAMA": 25}
"""Percent of the consents that are for each channel."""
CHANNELS = {
    "MESAJ": ("SMS", "MESAJ", "Kısa Mesaj"),
    "EPOSTA": ("E-POSTA", "EPOSTA", "e-posta"),
    "ARAMA": ("ARAMA", "Telefon", "Çağrı"),
}
STATUSES = {"ONAY": ("ONAY", "1", "EVET"), "RET": ("RET", "0", "HAYIR", "RED")}
PHONES = (
    "+90{0}{1}{2}{3}",
    "0{0}{1}{2}{3}",
    "{0}{1}{2}{3}",
    "90{0}{1}{2}{3}",
    "0 ({0}) {1} {2} {3}",
    "0090 {0} {1} {2} {3}",
)
DATES = ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S")
DOMAINS = ("example.com", "example.net", "example.org")


@dataclass(frozen=True, kw_only=True)
class CrmRow:
    """The content of a row, before it is written in one notation or another."""

    person: int
    brand: int
    channel: str
    tacir: bool
    status: str
    source: str
    at: datetime

    @property
    def key(self) -> tuple[int, int, str, bool]:
        """Brand, person, channel, and whether the person is a TACIR."""
        return self.brand, self.person, self.channel, self.tacir


class Notation:
    """Writes rows in notations that ``chance`` chooses."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance

    def row(self, one: CrmRow) -> list[str]:
        """Return the cells of a row."""
        return [
            self._recipient(one.person, one.channel),
            self._random.choice(CHANNELS[one.channel]),
            self._random.choice(STATUSES[one.status]),
            one.source,
            one.at.strftime(self._random.choice(DATES)),
            "TACİR" if one.tacir else self._random.choice(("BİREYSEL", "BIREYSEL", "")),
            str(one.brand),
            f"CRM-{one.person:06d}",
        ]

    def _recipient(self, person: int, channel: str) -> str:
        if channel == "EPOSTA":
            address = f"kisi.{person:06d}@{DOMAINS[person % len(DOMAINS)]}"
            return self._random.choice((address, address.title(), address.upper(), address))
        digits = f"{person:06d}"
        notation = self._random.choice(PHONES)
        return notation.format("555", f"0{digits[:2]}", digits[2:4], digits[4:])
