"""An export as Excel in Turkey leaves it, and what an import of it must find.

Numbers carry a text notation (``="0555…"``, ``'0555…``), statuses are flags (``E``/``H``), Boolean
values are Turkish, cells end in marks of copying, and the sheet has empty rows. Some rows cannot be
used, opt-outs among them. The same seed gives the same bytes.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from izin.consent import TURKEY

HEADER = (
    "TELEFON",
    "E-POSTA",
    "İZİN TÜRÜ",
    "İZİN DURUMU",
    "İZİN KAYNAĞI",
    "İZİN TARİHİ",
    "ALICI TİPİ",
    "MARKA",
    "REFERANS",
)
ONAYS = ("E", "e", "EVET", "Evet", "evet", '="E"', "'E", " E\u00a0", "DOĞRU", "1", "1,0", "ONAY")
RETS = (
    "H", "h", "HAYIR", "Hayır", "hayır", "hayir", "HAYİR", "HAY\u0131R", '="H"', "'H", "H\u200b",
    "YANLIŞ", "Yanlış", "0", "0.0", "RET", '="HAYIR"',
)  # fmt: skip
UNCLEAR = ("?", "BELKİ", "Y", "#YOK", "", "2")
_AS_TEXT: tuple[Callable[[str], str], ...] = (
    lambda text: f'="{text}"',
    lambda text: f'"=""{text}"""',
    lambda text: f"'{text}",
    lambda text: f"\u2019{text}",
    lambda text: f'"{text}"',
    lambda text: f' "{text}"',
    lambda text: f"'{text}'",
    lambda text: f"\u202a{text}\u202c",
    lambda text: f"{text}\u00a0",
    lambda text: text,
)
_PHONES = ("0{0}", "{0}", "+90{0}", "90{0}", "0 ({1}) {2} {3} {4}")
_LOST_DIGITS = ("5,55E+09", "9,0555E+11", "5550000000,0", "########")
_DATES = (
    "%d.%m.%Y %H:%M:%S", "{day}.{month}.%Y {hour}:%M", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M",
    '="%d.%m.%Y %H:%M:%S"', "%d.%m.%Y\u00a0%H:%M",
)  # fmt: skip
_NOTES = ("", "", "CRM-{0}", '="00{0}"', '"a;""b"" {0}\r\nikinci satır"', "NULL")
_EMPTY_ROW = (" ",) * len(HEADER)


@dataclass(frozen=True, kw_only=True)
class ExcelTruth:
    """What an import must find."""

    rows: int
    published: int
    opt_outs: int
    refused: int
    refused_opt_outs: int
    refused_unclear: int
    keys: frozenset[str]
    """The canonical keys of all opt-outs to be published."""


def write(path: Path, *, rows: int, brand: int, now: datetime, seed: int = 7) -> ExcelTruth:
    """Write an export of ``rows`` rows, dated within the two days before ``now``."""
    chance = random.Random(seed)
    lines, kinds, keys = ["sep=;", ";".join(HEADER)], dict.fromkeys(_KINDS, 0), set()
    for person in range(rows):
        kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        kinds[kind] += 1
        cells, recipient = _row(chance, kind, person, brand, now)
        lines.append(";".join(cells))
        if kind == "opt-out":
            keys.add(recipient)
        if chance.random() < 0.01:
            lines.append(";".join(_EMPTY_ROW))
    lines.extend([";" * (len(HEADER) - 1)] * 20)
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return ExcelTruth(
        rows=rows,
        published=kinds["opt-in"] + kinds["opt-out"],
        opt_outs=kinds["opt-out"],
        refused=sum(kinds[one] for one in kinds if one not in {"opt-in", "opt-out"}),
        refused_opt_outs=kinds["lost opt-out"] + kinds["short opt-out"],
        refused_unclear=kinds["unclear"],
        keys=frozenset(keys),
    )


_KINDS = {
    "opt-in": 56,
    "opt-out": 38,
    "lost opt-in": 2,
    "lost opt-out": 2,
    "short opt-out": 1,
    "unclear": 1,
}
"""Each kind of row with its share in percent."""


def _row(
    chance: random.Random, kind: str, person: int, brand: int, now: datetime
) -> tuple[Sequence[str], str]:
    """Return the cells of a row, and its canonical key."""
    channel, words = chance.choice(
        (("MESAJ", ("SMS", "Kısa Mesaj")), ("ARAMA", ("ARAMA", "Çağrı")), ("EPOSTA", ("E-Posta",)))
    )
    national, mail = f"555{person:07d}", f"kisi.{person}@example.com"
    phone = chance.choice(_PHONES).format(
        national, national[:3], national[3:6], national[6:8], national[8:]
    )
    phone, shown = chance.choice(_AS_TEXT)(phone), chance.choice(_AS_TEXT)(mail)
    if "lost" in kind:
        channel, words, phone = "MESAJ", ("SMS",), chance.choice(_LOST_DIGITS)
    at = (now - timedelta(seconds=chance.randrange(60, 40 * 3600))).astimezone(TURKEY)
    date = at.strftime(
        chance.choice(_DATES)
        .replace("{day}", str(at.day))
        .replace("{month}", str(at.month))
        .replace("{hour}", str(at.hour))
    )
    statuses = UNCLEAR if kind == "unclear" else RETS if "opt-out" in kind else ONAYS
    cells = [
        "" if channel == "EPOSTA" else phone,
        shown if channel == "EPOSTA" else chance.choice(("", "-", "NULL")),
        chance.choice(_AS_TEXT[:2] + _AS_TEXT[-1:])(chance.choice(words)),
        chance.choice(statuses),
        chance.choice(("HS_WEB", '="HS_WEB"', "Web Sitesi")),
        date,
        chance.choice(("BİREYSEL", "Bireysel", "", "#YOK", "NULL")),
        chance.choice((str(brand), f'="{brand}"', f"{brand},0", f"{brand}.0")),
        chance.choice(_NOTES).format(person),
    ]
    if kind == "short opt-out":
        cells = [*cells[:3], "HAYIR", cells[4]]
    elif chance.random() < 0.1:
        cells += ["", ""]
    recipient = mail if channel == "EPOSTA" else f"+90{national}"
    return cells, f"{brand}/{channel}/BIREYSEL/{recipient}"
