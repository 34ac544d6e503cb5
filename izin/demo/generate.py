"""Write a consent export as a Turkish CRM writes it, and the truth about it; nothing is real.

The same seed, instant and brands give the same bytes. Two brands: one active at İYS, so its
consents are mostly fresh and some are too old; one in first loading, with consents back to May
2015. Telephone numbers lie in +90 555 0xx xx xx, e-mail addresses under example.com, example.net
and example.org.

    python -m izin.demo.generate demo/crm-export.csv --active 600001 --loading 600002 --now
    2026-09-21T12:00:00+03:00

prints what it wrote as JSON: counts by kind, and what must stand at the end for each key's status.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

TURKEY = timezone(timedelta(hours=3))
FIRST_DATE = datetime(2015, 5, 1, tzinfo=TURKEY)
ENCODING = "cp1254"
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

DUPLICATES = 0.15
OUT_OF_ORDER = 0.05
INVALID = 0.02
OPT_OUTS = 0.12
TACIR = 0.02
TOO_OLD = 0.15
HS_2015 = 0.03

FRESH = timedelta(hours=40)
"""Within three business days of İYS, whatever the weekday and the holidays."""

CHANNELS = {
    "MESAJ": (45, ("SMS", "MESAJ", "Kısa Mesaj")),
    "EPOSTA": (30, ("E-POSTA", "EPOSTA", "e-posta")),
    "ARAMA": (25, ("ARAMA", "Telefon", "Çağrı")),
}
STATUSES = {"ONAY": ("ONAY", "1", "EVET"), "RET": ("RET", "0", "HAYIR", "RED")}
SOURCES = ("HS_WEB", "HS_MOBIL", "HS_CAGRI_MERKEZI", "HS_ISLAK_IMZA", "HS_FIZIKSEL_ORTAM")
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
class Plan:
    """What to write."""

    rows: int
    seed: int
    now: datetime
    active: int
    """Code of the brand that is active at İYS."""
    loading: int
    """Code of the brand in first loading."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one row says, before it is written in one notation or another."""

    person: int
    brand: int
    channel: str
    tacir: bool
    status: str
    source: str
    at: datetime

    @property
    def key(self) -> tuple[int, int, str, bool]:
        """Whose record this is."""
        return self.brand, self.person, self.channel, self.tacir


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the file holds."""

    rows: int
    first_statements: int
    duplicates: int
    out_of_order: int
    opt_outs_after_onay: int
    opt_outs_without_onay: int
    tacir: int
    too_old_at_active_brand: int
    invalid: dict[str, int]
    """Rows that must be refused, by kind."""
    not_registrable: int
    """Opt-outs with an unreadable date: published, and reported."""
    published: int
    refused: int
    keys: int
    final: dict[str, dict[str, int]]
    """By brand: how many keys must end as ONAY and as RET."""


class Writer:
    """Writes statements in ever other notations."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def recipient(self, person: int, channel: str) -> str:
        """Return the person's address in one of its notations."""
        if channel == "EPOSTA":
            address = f"kisi.{person:06d}@{DOMAINS[person % len(DOMAINS)]}"
            return self._chance.choice((address, address.title(), address.upper(), address))
        digits = f"{person:06d}"
        notation = self._chance.choice(PHONES)
        return notation.format("555", f"0{digits[:2]}", digits[2:4], digits[4:])

    def row(self, one: Statement) -> list[str]:
        """Return the statement as a row."""
        return [
            self.recipient(one.person, one.channel),
            self._chance.choice(CHANNELS[one.channel][1]),
            self._chance.choice(STATUSES[one.status]),
            one.source,
            one.at.strftime(self._chance.choice(DATES)),
            "TACİR" if one.tacir else self._chance.choice(("BİREYSEL", "BIREYSEL", "")),
            str(one.brand),
            f"CRM-{one.person:06d}",
        ]


class Generator:
    """Makes the rows of a plan, and counts them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(f"{plan.seed}/{plan.now.isoformat()}/{plan.rows}")
        self._writer = Writer(self._chance)
        self._persons = iter(self._chance.sample(range(1_000_000), plan.rows))
        self._placed: list[tuple[float, list[str]]] = []
        self._said: list[tuple[float, Statement]] = []

    def generate(self) -> tuple[list[list[str]], Truth]:
        """Return the rows in the order of the file, and the truth about them."""
        plan = self._plan
        duplicates, old, bad = (
            round(plan.rows * share) for share in (DUPLICATES, OUT_OF_ORDER, INVALID)
        )
        first = plan.rows - duplicates - old - bad
        opt_outs = round(first * OPT_OUTS)
        after_onay = opt_outs // 2
        onays = [self._say(self._chance.random(), self._onay()) for _ in range(first - opt_outs)]
        consented = self._chance.sample(
            [one for one in onays if not _is_newest(one[1], plan)], after_onay
        )
        for place, onay in consented:
            self._say(self._chance.uniform(place, 1), self._opt_out_of(onay))
        for _ in range(opt_outs - after_onay):
            self._say(self._chance.random(), replace(self._onay(), status="RET", source="HS_MESAJ"))
        for place, later in self._chance.sample([one for one in onays if _has_past(one[1])], old):
            self._say(self._chance.uniform(place, 1), self._older(later))
        for place, one in self._chance.choices(self._said, k=duplicates):
            self._put(self._chance.uniform(place, 1), self._writer.row(one))
        invalid, not_registrable = self._spoil(bad)
        self._placed.sort(key=lambda one: one[0])
        final = self._final(not_registrable)
        refused = sum(invalid.values())
        said = [one for _, one in self._said]
        return [row for _, row in self._placed], Truth(
            rows=len(self._placed),
            first_statements=first,
            duplicates=duplicates,
            out_of_order=old,
            opt_outs_after_onay=after_onay,
            opt_outs_without_onay=opt_outs - after_onay,
            tacir=sum(one.tacir for one in said),
            too_old_at_active_brand=sum(
                one.brand == plan.active and plan.now - one.at > FRESH and one.status == "ONAY"
                for one in said
            ),
            invalid=invalid,
            not_registrable=not_registrable,
            published=len(self._placed) - refused,
            refused=refused,
            keys=sum(sum(one.values()) for one in final.values()),
            final=final,
        )

    def _onay(self) -> Statement:
        plan, chance = self._plan, self._chance
        brand = plan.active if chance.random() < 0.6 else plan.loading  # noqa: PLR2004  # a mix
        names = list(CHANNELS)
        channel = chance.choices(names, [CHANNELS[one][0] for one in names])[0]
        source = chance.choice(SOURCES)
        if brand == plan.loading:
            at = _between(chance, FIRST_DATE, plan.now - timedelta(days=1))
            if chance.random() < HS_2015:
                source, at = "HS_2015", FIRST_DATE
        elif chance.random() < TOO_OLD:
            at = _between(chance, plan.now - timedelta(days=60), plan.now - timedelta(days=15))
        else:
            at = _between(chance, plan.now - FRESH, plan.now - timedelta(minutes=5))
        return Statement(
            person=next(self._persons),
            brand=brand,
            channel=channel,
            tacir=chance.random() < TACIR,
            status="ONAY",
            source=source,
            at=at,
        )

    def _opt_out_of(self, onay: Statement) -> Statement:
        at = _between(self._chance, onay.at + timedelta(seconds=1), self._plan.now)
        source = self._chance.choice(("HS_MESAJ", "HS_CAGRI_MERKEZI", "HS_WEB", "HS_EPOSTA"))
        return replace(onay, status="RET", source=source, at=at)

    def _older(self, later: Statement) -> Statement:
        at = later.at - timedelta(seconds=self._chance.randrange(3600, 30 * 86_400))
        status = "RET" if self._chance.random() < OPT_OUTS else "ONAY"
        return replace(later, status=status, source="HS_WEB", at=at)

    def _say(self, place: float, one: Statement) -> tuple[float, Statement]:
        said = (place, one)
        self._said.append(said)
        self._put(place, self._writer.row(one))
        return said

    def _put(self, place: float, row: list[str]) -> None:
        self._placed.append((place, row))

    def _spoil(self, count: int) -> tuple[dict[str, int], int]:
        """Add ``count`` rows with a fault each; return how many of which kind must be refused."""
        spoilers = {
            "bad_phone": (0, "0555 12"),
            "bad_email": (0, "kisi@@example.com"),
            "scientific_notation": (0, "9,0555E+11"),
            "unknown_channel": (1, "FAKS"),
            "unknown_status": (2, "BELKİ"),
            "unknown_source": (3, "HS_BILINMEYEN"),
            "onay_without_date": (4, ""),
            "future_date": (4, (self._plan.now + timedelta(days=3)).strftime(DATES[0])),
            "ambiguous_date": (4, "03/04/2026 10:00:00"),
            "impossible_date": (4, "2026-15-01 10:00:00"),
            "unknown_brand": (6, "999999999"),
            "too_many_fields": (7, f"CRM{DELIMITER}1"),
            "opt_out_without_readable_date": (4, "geçen hafta"),
        }
        kinds = Counter[str]()
        for number in range(count):
            kind = list(spoilers)[number % len(spoilers)]
            channel = "EPOSTA" if kind == "bad_email" else "MESAJ"
            status = "RET" if kind == "opt_out_without_readable_date" else "ONAY"
            one = replace(
                self._onay(),
                brand=self._plan.active,
                channel=channel,
                tacir=False,
                status=status,
                source="HS_WEB",
            )
            row = self._writer.row(one)
            column, text = spoilers[kind]
            row[column] = text
            self._put(self._chance.random(), row)
            kinds[kind] += 1
        not_registrable = kinds.pop("opt_out_without_readable_date", 0)
        return dict(kinds), not_registrable

    def _final(self, undated_opt_outs: int) -> dict[str, dict[str, int]]:
        """Return what must stand at the end: the latest of a key, and of one instant the RET."""
        latest: dict[tuple[int, int, str, bool], tuple[datetime, bool]] = {}
        for _, one in self._said:
            order = (one.at, one.status == "RET")
            latest[one.key] = max(latest.get(one.key, order), order)
        final: dict[str, Counter[str]] = {
            str(brand): Counter() for brand in (self._plan.active, self._plan.loading)
        }
        for (brand, *_), (_, is_ret) in latest.items():
            final[str(brand)]["RET" if is_ret else "ONAY"] += 1
        final[str(self._plan.active)]["RET"] += undated_opt_outs
        return {brand: dict(counts) for brand, counts in final.items()}


def _between(chance: random.Random, start: datetime, end: datetime) -> datetime:
    seconds = int((end - start).total_seconds())
    at = start + timedelta(seconds=chance.randint(0, seconds))
    return at.astimezone(TURKEY).replace(microsecond=0)


def _is_newest(one: Statement, plan: Plan) -> bool:
    """Whether there is no room left for an opt-out between this statement and now."""
    return plan.now - one.at < timedelta(minutes=1)


def _has_past(one: Statement) -> bool:
    """Whether an older statement of the same key would still be lawful."""
    return one.at - FIRST_DATE > timedelta(days=31)


def write(path: Path, plan: Plan) -> Truth:
    """Write the export of ``plan`` and return the truth about it."""
    rows, truth = Generator(plan).generate()
    lines = [DELIMITER.join(row) for row in (list(HEADER), *rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(ENCODING))
    return truth


def main() -> None:
    """Read the arguments, write the file and print the truth."""
    parser = argparse.ArgumentParser(description="Write a made-up CRM export.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    parser.add_argument("--active", type=int, required=True, help="code of the active brand")
    parser.add_argument("--loading", type=int, required=True, help="code of the brand in loading")
    given = parser.parse_args()
    if given.now.tzinfo is None:
        parser.error("--now needs an offset, such as 2026-09-21T12:00:00+03:00")
    plan = Plan(
        rows=given.rows,
        seed=given.seed,
        now=given.now,
        active=given.active,
        loading=given.loading,
    )
    truth = json.dumps(asdict(write(given.path, plan)), ensure_ascii=False, indent=2)
    sys.stdout.write(f"{truth}\n")


if __name__ == "__main__":
    main()
