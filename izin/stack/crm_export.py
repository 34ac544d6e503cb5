"""Write a made-up consent export as a Turkish CRM does, and return the expected results.

The same seed, instant and brands give the same bytes. There are two brands: one is active at İYS,
the other in first loading. Most consents are fresh and some too old, those of the other brand back
to May 2015: void by now. Phone numbers are in +90 555 0xx xx xx, e-mail addresses below
example.com, example.net and example.org.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from izin.consent import TURKEY

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
FIRST_DATE = datetime(2015, 5, 1, tzinfo=TURKEY)
ENCODING = "cp1254"
DUPLICATES = 0.15
OUT_OF_ORDER = 0.05
INVALID = 0.02
OPT_OUTS = 0.12
TACIR = 0.02
TOO_OLD = 0.15
HS_2015 = 0.03
_ACTIVE = 0.6
FRESH = timedelta(hours=40)
"""Within İYS's three business days, whatever the weekday and the holidays."""
SOURCES = ("HS_WEB", "HS_MOBIL", "HS_CAGRI_MERKEZI", "HS_ISLAK_IMZA", "HS_FIZIKSEL_ORTAM")
_UNDATED_OPT_OUT = "opt_out_without_readable_date"


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


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """What to write."""

    rows: int
    seed: int
    now: datetime
    active: int
    """Code of the brand that is active at İYS."""
    loading: int
    """Code of the brand in first loading."""


@dataclass(frozen=True, kw_only=True)
class ExportTruth:
    """What an import of the file must find."""

    rows: int
    invalid: dict[str, int]
    """Rows that must be refused, by kind."""
    not_registrable: int
    """Opt-outs with an unreadable date: published, and reported."""
    published: int
    refused: int
    keys: int
    final: dict[str, dict[str, int]]
    """By brand: how many keys must end as ONAY and as RET."""


class Generator:
    """Makes the rows of a spec, and counts them."""

    def __init__(self, spec: ExportSpec) -> None:
        self._spec = spec
        self._random = random.Random(f"{spec.seed}/{spec.now.isoformat()}/{spec.rows}")
        self._persons = iter(self._random.sample(range(1_000_000), spec.rows))
        self._placed: list[tuple[float, list[str]]] = []
        self._events: list[tuple[float, CrmRow]] = []

    def generate(self) -> tuple[list[list[str]], ExportTruth]:
        """Return the rows in the order of the file, and the expected results."""
        rows = self._spec.rows
        duplicates, old, bad = (
            round(rows * share) for share in (DUPLICATES, OUT_OF_ORDER, INVALID)
        )
        self._add_events(rows - duplicates - old - bad, old)
        for place, one in self._random.choices(self._events, k=duplicates):
            self._placed.append((self._random.uniform(place, 1), self._cells(one)))
        invalid, not_registrable = self._add_invalid(bad)
        self._placed.sort(key=lambda one: one[0])
        final = self._final(not_registrable)
        refused = sum(invalid.values())
        return [row for _, row in self._placed], ExportTruth(
            rows=len(self._placed),
            invalid=invalid,
            not_registrable=not_registrable,
            published=len(self._placed) - refused,
            refused=refused,
            keys=sum(sum(one.values()) for one in final.values()),
            final=final,
        )

    def _add_events(self, first: int, old: int) -> None:
        """Add ``first`` events of new keys or after their ONAY, and ``old`` that come too late."""
        spec, chance = self._spec, self._random
        opt_outs = round(first * OPT_OUTS)
        after_onay = opt_outs // 2
        onays = [self._add(chance.random(), self._onay()) for _ in range(first - opt_outs)]
        with_room = [one for one in onays if spec.now - one[1].at >= timedelta(minutes=1)]
        for place, onay in chance.sample(with_room, after_onay):
            self._add(chance.uniform(place, 1), self._opt_out_of(onay))
        for _ in range(opt_outs - after_onay):
            self._add(chance.random(), replace(self._onay(), status="RET", source="HS_MESAJ"))
        with_past = [one for one in onays if one[1].at - FIRST_DATE > timedelta(days=31)]
        for place, later in chance.sample(with_past, old):
            self._add(chance.uniform(place, 1), self._older(later))

    def _onay(self) -> CrmRow:
        spec, chance = self._spec, self._random
        brand = spec.active if chance.random() < _ACTIVE else spec.loading
        channel = chance.choices(list(CHANNEL_SHARES), list(CHANNEL_SHARES.values()))[0]
        source = chance.choice(SOURCES)
        if brand == spec.loading and chance.random() < HS_2015:
            source, at = "HS_2015", FIRST_DATE
        elif brand == spec.loading and chance.random() < TOO_OLD:
            at = self._between(FIRST_DATE, spec.now - timedelta(days=15))
        elif chance.random() < TOO_OLD:
            at = self._between(spec.now - timedelta(days=60), spec.now - timedelta(days=15))
        else:
            at = self._between(spec.now - FRESH, spec.now - timedelta(minutes=5))
        return CrmRow(
            person=next(self._persons),
            brand=brand,
            channel=channel,
            tacir=chance.random() < TACIR,
            status="ONAY",
            source=source,
            at=at,
        )

    def _opt_out_of(self, onay: CrmRow) -> CrmRow:
        at = self._between(onay.at + timedelta(seconds=1), self._spec.now)
        source = self._random.choice(("HS_MESAJ", "HS_CAGRI_MERKEZI", "HS_WEB", "HS_EPOSTA"))
        return replace(onay, status="RET", source=source, at=at)

    def _older(self, later: CrmRow) -> CrmRow:
        at = later.at - timedelta(seconds=self._random.randrange(3600, 30 * 86_400))
        status = "RET" if self._random.random() < OPT_OUTS else "ONAY"
        return replace(later, status=status, source="HS_WEB", at=at)

    def _between(self, start: datetime, end: datetime) -> datetime:
        seconds = self._random.randint(0, int((end - start).total_seconds()))
        return (start + timedelta(seconds=seconds)).astimezone(TURKEY).replace(microsecond=0)

    def _cells(self, one: CrmRow) -> list[str]:
        """Return the cells of a row, in notations that chance chooses."""
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

    def _add(self, place: float, one: CrmRow) -> tuple[float, CrmRow]:
        self._events.append((place, one))
        self._placed.append((place, self._cells(one)))
        return place, one

    def _add_invalid(self, count: int) -> tuple[dict[str, int], int]:
        """Add ``count`` rows with a fault each; return how many of which kind must be refused, and
        how many opt-outs have no readable date.
        """
        faults = {
            "bad_phone": (0, "0555 12"),
            "bad_email": (0, "kisi@@example.com"),
            "scientific_notation": (0, "9,0555E+11"),
            "unknown_channel": (1, "FAKS"),
            "unknown_status": (2, "BELKİ"),
            "unknown_source": (3, "HS_BILINMEYEN"),
            "onay_without_date": (4, ""),
            "future_date": (4, (self._spec.now + timedelta(days=3)).strftime(DATES[0])),
            "ambiguous_date": (4, "03/04/2026 10:00:00"),
            "impossible_date": (4, "2026-15-01 10:00:00"),
            "unknown_brand": (6, "999999999"),
            "too_many_fields": (7, f"CRM{DELIMITER}1"),
            _UNDATED_OPT_OUT: (4, "geçen hafta"),
        }
        kinds = Counter[str]()
        for number in range(count):
            kind = list(faults)[number % len(faults)]
            one = replace(
                self._onay(),
                brand=self._spec.active,
                channel="EPOSTA" if kind == "bad_email" else "MESAJ",
                tacir=False,
                status="RET" if kind == _UNDATED_OPT_OUT else "ONAY",
                source="HS_WEB",
            )
            row = self._cells(one)
            column, text = faults[kind]
            row[column] = text
            self._placed.append((self._random.random(), row))
            kinds[kind] += 1
        not_registrable = kinds.pop(_UNDATED_OPT_OUT, 0)
        return dict(kinds), not_registrable

    def _final(self, undated_opt_outs: int) -> dict[str, dict[str, int]]:
        """Return the final statuses: the latest of a key, and of one instant the RET."""
        latest: dict[tuple[int, int, str, bool], tuple[datetime, bool]] = {}
        for _, one in self._events:
            order = (one.at, one.status == "RET")
            latest[one.key] = max(latest.get(one.key, order), order)
        final: dict[str, Counter[str]] = {
            str(brand): Counter() for brand in (self._spec.active, self._spec.loading)
        }
        for (brand, *_), (_, is_ret) in latest.items():
            final[str(brand)]["RET" if is_ret else "ONAY"] += 1
        final[str(self._spec.active)]["RET"] += undated_opt_outs
        return {brand: dict(counts) for brand, counts in final.items()}


def write(path: Path, spec: ExportSpec) -> ExportTruth:
    """Write the export of ``spec`` and return the expected results."""
    rows, truth = Generator(spec).generate()
    lines = [DELIMITER.join(row) for row in (list(HEADER), *rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(ENCODING))
    return truth
