"""``python -m tests.chaos.words``: 20,000 names and words; ``make chaos STAGE=words``.

What may be read as a consent is known here by lists of its own, which know nothing of the importer:
a name and a word are compared letter by letter, and whatever has another sign is no word.

It ends with the lines ``words: … ok`` or ``short``. Exit codes: 0 no consent was invented, no
opt-out lost, and every pair of docs and tests is read as before or listed with its reason; 1 else;
2 wrong usage.
"""

import json
import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import typer

from benchmarks.results import RunReport
from izin.consent import SourceError, Status
from izin.producers.files import ColumnChoices
from izin.producers.mapping.columns import resolve
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import read
from tests.chaos.command import conclude, empty, listed, start

PAIRS: Final = Path(__file__).with_name("pairs.json")
"""Each name, word and status that docs and tests had before names and words became lists."""
_CHANNELS = (
    *("arama", "telefon", "çağrı", "call", "phone", "voice", "mesaj", "sms", "email", "mail"),
    *("message", "sesli arama", "telefonla arama", "kısa mesaj", "text message", "eposta"),
    *("e-posta", "e-mail"),
)
_CONSENTS = (
    "izni|izin|onayı|onay|izin durumu|izni durumu|onay durumu|iletişim izni|ileti izni"
    "|gönderim izni|izni var mı|izin verdi mi|permission|consent|opt-in"
)
_NARROW = (
    "izin durumu|onay durumu|onay(1)-ret(0)|onay/ret|onay|izin|izin var mı|consent"
    "|consent status|permission"
)
CONSENT_NAMES: Final = frozenset(_NARROW.split("|")) | {
    f"{channel} {name}" for channel in _CHANNELS for name in _CONSENTS.split("|")
}
"""Under these a yes is a consent."""
GENERIC_NAMES: Final = frozenset(("durum", "status", "sms", "arama")) | {
    f"{channel} {name}" for channel in _CHANNELS for name in ("durumu", "status")
}
"""Under these ``ONAY`` alone is."""
_YES = (
    "onay|1|e|evet|doğru|var|onaylı|onaylandı|onayladı|onay var|onay verdi|onay verildi|yes"
    "|onayı var|izinli|izin var|izni var|izin verdi|izin verildi|izin veriyor|kabul|true"
    "|kabul etti|kabul edildi|kabul ediyor|kabul ediyorum|istiyor|istiyorum|olumlu|abone|✓|✔"
    "|opt-in|opted in|consent|consented|granted|accepted|subscribed|allowed"
)
_NO = "ret|red|reddedildi|onaysız|izin yok|iptal|istemiyor|opt-out|unsubscribed|withdrawn|vazgeçti"
_OTHERS = "pasif|bloke|belki|onay değil|no consent|not opted in|izin reddi|beklemede|ulaşıldı|x|y|2"
_OTHER_NAMES = (
    "pasif|bloke|withdrawn|izin reddi|iptal|kara liste|sonuç|puan|arama tarihi|sms date"
    "|arama sonucu|teslim|delivery|hesap|account|onay tarihsiz|izin günü|no consent"
)
_SIGNS = (
    "-",
    "!",
    "~",
    "≠",
    "<>",
    "❌ ",
    "☐ ",
    "[ ] ",
    "¬",
    "\u200b",
    "\u0338",
    "\u20e0",
    "(",
    "x ",
    "\u202e",
    "\u00ad",
    "\ufe0f",
    "❎",
    "🚫",
    "!=",
    "#",
    "\ud83d",
    "\0",
    "değil ",
    "not ",
    "no ",
)
_LOOKALIKES = dict(zip("aeoinrt1v", "аеоіпгт１ѵ", strict=True))
_TURKISH = str.maketrans("İI", "ii")
_PLAIN = str.maketrans("ışğüöçâîû", "isguocaiu")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 -_/()"
_MARKS = " \u00a0\u200b\u202e"
"""What copying leaves at the edges of a cell: no part of it."""
_DATE = "02.03.2026 12:00"


@dataclass(frozen=True, kw_only=True)
class WordsVerdict:
    """What names and words were read as."""

    pairs: int
    consents: int
    opt_outs: int
    stopped: int
    """Pairs for which a file is refused as a whole."""
    invented: list[str] = field(default_factory=list)
    """Consents that no list has."""
    lost: list[str] = field(default_factory=list)
    """Words of an opt-out under the name of a consent that are read as none."""
    changed: dict[str, str] = field(default_factory=dict)
    """Pairs of docs and tests that are read otherwise than before, and why."""
    broken: list[str] = field(default_factory=list)
    """Those for which there is no reason."""


def run(*, pairs: int, seed: int) -> WordsVerdict:
    """Read ``pairs`` generated names and words, then those of docs and tests."""
    found: dict[str, list[str]] = {"invented": [], "lost": []}
    counts = {"consents": 0, "opt_outs": 0, "stopped": 0}
    for name, word, is_mapped in _generated(pairs, random.Random(seed)):
        status = said(name, word, is_mapped=is_mapped)
        counts["stopped"] += status is None
        counts["consents"] += status == Status.ONAY
        counts["opt_outs"] += status == Status.RET
        shown = f"{name!r}={word!r}{' mapped' * is_mapped}: {status}"
        if status == Status.ONAY and not may_be_consent(name, word):
            found["invented"].append(shown)
        is_opt_out = is_one_of(name, CONSENT_NAMES) and is_one_of(word, _NO.split("|"))
        if status != Status.RET and is_opt_out:
            found["lost"].append(shown)
    changed, broken = _compared()
    return WordsVerdict(pairs=pairs, **counts, **found, changed=changed, broken=broken)


def said(name: str, word: str, *, is_mapped: bool = False) -> str | None:
    """Return the status of a row with ``word`` in the column ``name``; None: it is refused."""
    headers = ["Alıcı", name, "Kayıt No"]
    mapped = {name: "status"} if is_mapped else {}
    values = {"status:öyle": "ONAY"} if is_mapped else {}
    for given in ({"kanal": "SMS", "marka": "1"}, {"marka": "1"}):
        choices = ColumnChoices(given=given, mapped=mapped, values=values)
        try:
            columns = resolve(headers, choices)
        except SourceError:
            continue
        for part in columns.parts(("0555 000 00 01", word, "1")):
            return read({**part.values, Field.SOURCE: "HS_WEB"}, DateRules()).status
        return ""
    return None


def may_be_consent(name: str, word: str) -> bool:
    """Whether a list has ``word`` as a consent under ``name``."""
    if is_one_of(name, GENERIC_NAMES):
        return is_one_of(word, ["onay"])
    is_date = word.strip(_MARKS) == _DATE
    return is_one_of(name, CONSENT_NAMES) and (is_date or is_one_of(word, _YES.split("|")))


def is_one_of(text: str, spellings: Iterable[str]) -> bool:
    """Whether ``text`` is one of ``spellings``: in any case, with or without the marks of Turkish
    letters, its parts separated by another sign or by none.
    """
    return any(_is_spelled(parts_of(text), parts_of(one)) for one in spellings)


def _is_spelled(found: Sequence[str], wanted: Sequence[str]) -> bool:
    left = list(wanted)
    for one in found:
        part = ""
        while left and len(part) < len(one):
            part += left.pop(0)
        if part != one:
            return False
    return bool(found) and not left


@cache
def parts_of(text: str) -> Sequence[str]:
    """Return the parts of ``text``; none where it has anything but letters and what is between."""
    plain = unicodedata.normalize("NFC", text.strip(_MARKS)).translate(_TURKISH).lower()
    if plain in {"✓", "✔"}:
        return [plain]
    plain = plain.replace("i\u0307", "i").translate(_PLAIN)
    end = plain.removesuffix(")") if "(" in plain else plain
    if not (end[:1].isalnum() and end[-1].isalnum()) or set(plain) - set(_LETTERS):
        return ()
    return "".join(one if one.isalnum() else " " for one in plain).split()


def _generated(count: int, chance: random.Random) -> Iterator[tuple[str, str, bool]]:
    """Yield names and words, plain, in other letters, or with something that denies them."""
    names = [*sorted(CONSENT_NAMES), *sorted(GENERIC_NAMES), *_OTHER_NAMES.split("|")]
    words = [*_YES.split("|"), *_NO.split("|"), *_OTHERS.split("|"), _DATE]
    for _ in range(count):
        name = _varied(chance, chance.choice(names))
        yield name, _varied(chance, chance.choice(words)), chance.random() < 0.2


def _varied(chance: random.Random, text: str) -> str:  # noqa: PLR0911  # one for each kind
    cased = chance.choice((str, str.upper, str.title, str.capitalize, _turkish_upper))(text)
    match chance.randrange(8):
        case 0:
            return chance.choice(_SIGNS) + cased
        case 1:
            return cased + chance.choice(_SIGNS)
        case 2:
            place = chance.randrange(len(cased) + 1)
            return cased[:place] + chance.choice(_SIGNS) + cased[place:]
        case 3:
            letters = [one for one in cased.lower() if one in _LOOKALIKES]
            one = chance.choice(letters) if letters else ""
            return cased.lower().replace(one, _LOOKALIKES[one], 1) if one else f"¡{cased}"
        case 4:
            return unicodedata.normalize(chance.choice(("NFD", "NFC")), cased)
        case 5:
            return cased.replace(" ", chance.choice(("_", "-", "  ", "")))
        case _:
            return cased


def _turkish_upper(text: str) -> str:
    return text.replace("i", "İ").replace("ı", "I").upper()


def _compared() -> tuple[dict[str, str], list[str]]:
    """Return which pairs of docs and tests are read otherwise now, and those without a reason."""
    changed: dict[str, str] = {}
    broken: list[str] = []
    for name, word, status in json.loads(PAIRS.read_text("utf-8")):
        now = said(name, word)
        if now == status:
            continue
        reason = ""
        if is_one_of(name, GENERIC_NAMES) and status == Status.ONAY:
            reason = "a generic name: only ONAY itself is a consent there"
        elif status == Status.ONAY and not may_be_consent(name, word):
            reason = "a sign beside the word"
        shown = f"{name!r}={word!r}: {status}, now {now}"
        if reason:
            changed[shown] = reason
        else:
            broken.append(shown)
    return changed, broken


def main(
    pairs: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same pairs for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The result.")] = Path(".izin/chaos-words"),
) -> None:
    """Read generated names and words, as files and as every way in reads them."""
    empty(folder)
    raise conclude("words", folder, report(run(pairs=pairs, seed=seed), seed=seed))


def report(verdict: WordsVerdict, *, seed: int) -> RunReport:
    """Return the report of a campaign."""
    wrong = [*verdict.invented, *verdict.lost, *verdict.broken]
    summary = (
        f"{verdict.pairs} pairs: {verdict.consents} consents, {verdict.opt_outs} opt-outs, "
        f"{verdict.stopped} stop the file, {len(verdict.changed)} of docs and tests are read "
        "otherwise than before:"
    )
    why = [f"  {pair}: {reason}" for pair, reason in verdict.changed.items()]
    return RunReport(
        tables=[summary, *why, *listed(ascii(one) for one in wrong)],
        data={"seed": seed, **asdict(verdict)},
        figures={
            "words": verdict.pairs,
            "words-invented": len(verdict.invented),
            "words-lost": len(verdict.lost) + len(verdict.broken),
        },
        failures=wrong,
    )


if __name__ == "__main__":
    start("words", main)
