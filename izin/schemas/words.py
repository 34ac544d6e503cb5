"""The words that every way in reads: for a channel, a status, a source, a recipient type.

A word is compared in lower case, Turkish letters without diacritics, its parts separated by one
blank or by nothing; so ``KISA MESAJ``, ``kısa_mesaj`` and ``kısamesaj`` are the same. One with any
other sign, symbol or letter has no meaning: ``-1``, ``!onay`` and ``❌ Onay`` deny what a reader of
their letters would see. A word that is in no table is passed on as it is, for the law to report:
there is no fuzzy matching. ``docs/words.md`` lists all of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import Final
from unicodedata import normalize

from izin.consent import Channel, RecipientType, Source, Status

_LONGEST_CACHED, _MOST_CACHED = 100, 4096
_DIACRITICS = str.maketrans("İIıŞşĞğÜüÖöÇçÂâÎîÛû", "iiissgguuooccaaiiuu")
_WORD: Final = re.compile(r"[a-z0-9]+(?:[ _/-]+[a-z0-9]+)*")
_PART: Final = re.compile(r"[a-z0-9]+")
NO_MEANING: Final = " ?"
"""Behind a word that has none where it stands: then no table has one for it."""


def fold(text: str) -> str:
    """Return ``text`` as names are compared: lower-case letters and digits only, ASCII for Turkish.

    Other letters stay, and so does what could not be decoded: such a text is another name.
    """
    # What is longer than any name would only fill the cache.
    return _fold(text) if len(text) <= _LONGEST_CACHED else _fold.__wrapped__(text)


@lru_cache(maxsize=4096)
def _fold(text: str) -> str:
    plain = text.translate(_DIACRITICS).lower()
    return "".join(one for one in plain if one.isalnum() or one == "\ufffd")


def _spaced(text: str, allowed: re.Pattern[str]) -> str:
    """Return the parts of ``text`` separated by a blank; as it is where it is not as allowed."""
    text = " ".join(text.split())
    plain = normalize("NFC", text).translate(_DIACRITICS).lower().replace("i\u0307", "i")
    return " ".join(_PART.findall(plain)) if allowed.fullmatch(plain) else text


def word_key(text: str) -> str:
    """Return ``text`` as the words of a caller are compared: as it is where it has a sign, a symbol
    or another letter.
    """
    return _spaced(text, _WORD)


def _ends(spaced: str) -> set[int]:
    """Return after how many letters each part of ``spaced`` ends."""
    return set(accumulate(map(len, spaced.split())))


class KeptMeanings(dict[str, str]):
    """What texts mean, each kept once it was looked up; a source has few of them, often."""

    def __init__(self, meaning: Callable[[str], str]) -> None:
        super().__init__()
        self._meaning = meaning

    def __missing__(self, text: str) -> str:
        """Return what ``text`` means; one longer than any name or word is not kept."""
        found = self._meaning(text)
        if len(text) <= _LONGEST_CACHED and len(self) < _MOST_CACHED:
            self[text] = found
        return found


class NameTable(KeptMeanings):
    """What names or words mean, each as it is spelled, or with its parts joined; "": nothing that
    is known.

    A part is never found in several: ``on ay`` is no ``onay``.
    """

    def __init__(self, names: Iterable[tuple[str, str]], allowed: re.Pattern[str] = _WORD) -> None:
        super().__init__(self._found)
        self._allowed = allowed
        self.spelled = {_spaced(name, allowed): value for value, name in names}
        """Each spelling, and its meaning."""
        self._joined = {one.replace(" ", ""): one for one in self.spelled if " " in one}

    def _found(self, text: str) -> str:
        if len(text) > _LONGEST_CACHED:  # than any name
            return ""
        spaced = _spaced(text, self._allowed)
        found = self.spelled.get(spaced, "")
        if not found and (other := self._joined.get(spaced.replace(" ", ""))):
            found = self.spelled[other] if _ends(spaced) <= _ends(other) else ""
        return found


def listed(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each value with each of its names, which have commas between them; it is one, too."""
    for value, others in names.items():
        for name in (value, *filter(None, others.split(", "))):
            yield value, name


CHANNEL_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Channel.ARAMA: "arama, telefon, sesli arama, telefonla arama, çağrı, call, phone, voice",
        Channel.MESAJ: "mesaj, sms, kısa mesaj, message, text message",
        Channel.EPOSTA: "eposta, e-posta, email, e-mail, mail",
    }
)
"""What each channel is called, as a value and in the name of a column of its own."""
# Words with one meaning alone. No Y: "yes" in one export, "yanlış" (false) or "yok" (none) in
# another. No X: a mark for either. No "aktif": often of the account.
_STATUS_WORDS: Final[Mapping[str, str]] = {
    Status.ONAY: (
        "1, e, evet, doğru, var, onaylı, onaylandı, onayladı, onay var, onay verdi, onay verildi, "
        "onayı var, izinli, izin var, izni var, izin verdi, izin verildi, izin veriyor, kabul, "
        "kabul etti, kabul edildi, kabul ediyor, kabul ediyorum, istiyor, istiyorum, olumlu, "
        "abone, ✓, ✔, yes, true, opt-in, opted in, consent, consented, granted, accepted, "
        "subscribed, allowed"
    ),
    Status.RET: (
        "0, h, hayır, yanlış, yok, red, reddedildi, reddetti, red edildi, red etti, ret etti, ret "
        "edildi, retli, onaysız, onay yok, onayı yok, onaylamadı, onaylanmadı, onay vermedi, onay "
        "verilmedi, izinsiz, izin yok, izni yok, izin vermedi, izin verilmedi, izin vermiyor, "
        "kabul etmedi, kabul edilmedi, kabul etmiyor, kabul etmiyorum, istemiyor, istemiyorum, "
        "iptal, iptal edildi, iptal etti, onay iptal, izin iptal, vazgeçti, vazgeçildi, geri aldı, "
        "geri alındı, geri çekti, geri çekildi, çıktı, listeden çıktı, abonelikten çıktı, abonelik "
        "iptal, olumsuz, kara liste, no, n, false, opt-out, opted out, unsubscribed, unsubscribe, "
        "rejected, denied, declined, refused, revoked, withdrawn, withdrew, cancelled, canceled, "
        "blacklist, blacklisted, blocked"
    ),
}
_RECIPIENT_TYPE_WORDS: Final[Mapping[str, str]] = {
    # KURUMSAL is TACIR's own former name at İYS (renamed in May 2020).
    RecipientType.BIREYSEL: "individual, birey, consumer, tüketici",
    RecipientType.TACIR: "esnaf, tacir/esnaf, tacir ve esnaf, kurumsal, merchant",
}
_SOURCE_WORDS: Final[Mapping[str, str]] = {
    Source.HS_FIZIKSEL_ORTAM: "fiziksel ortam, fiziksel",
    Source.HS_ISLAK_IMZA: "ıslak imza",
    Source.HS_WEB: "web, web sitesi, website",
    Source.HS_CAGRI_MERKEZI: "çağrı merkezi, call center, call centre",
    Source.HS_SOSYAL_MEDYA: "sosyal medya, social media",
    Source.HS_EPOSTA: "e-posta, email",
    Source.HS_MESAJ: "mesaj, sms",
    Source.HS_MOBIL: "mobil, mobil uygulama, mobile app",
    Source.HS_EORTAM: "elektronik ortam, e-ortam",
    Source.HS_ETKINLIK: "etkinlik, event",
    Source.HS_2015: "",
    Source.HS_ATM: "atm",
    Source.HS_KARAR: "",
}
WORDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "status": _STATUS_WORDS,
        "type": CHANNEL_WORDS,
        "recipient_type": _RECIPIENT_TYPE_WORDS,
        "source": _SOURCE_WORDS,
    }
)
"""By field and value: the words that mean it beside itself, with commas between them."""
MEANINGS: Final = MappingProxyType({field: NameTable(listed(one)) for field, one in WORDS.items()})
_STATUSES, _CHANNELS, _RECIPIENT_TYPES, _SOURCES = MEANINGS.values()


def status_of(text: str) -> str:
    """Return the status that ``text`` means, or ``text`` itself if it is unknown."""
    return _STATUSES[text] or text


def certain(status: str, written: object) -> str:
    """Return ``status``, and without a meaning an opt-in (ONAY) that only cleaning made of what was
    ``written``.
    """
    is_doubtful = status == Status.ONAY and status_of(str(written)) != status
    return status + NO_MEANING if is_doubtful else status


def channel_of(text: str) -> str:
    """Return the channel that ``text`` means, or ``text`` itself if it is unknown."""
    return _CHANNELS[text] or text


def recipient_type_of(text: str) -> str:
    """Return the recipient type that ``text`` means, or itself; BIREYSEL, as at İYS, if empty."""
    return _RECIPIENT_TYPES[text] or text if text else RecipientType.BIREYSEL


def source_of(text: str) -> str | None:
    """Return the source that ``text`` means, or ``text`` itself; None if empty."""
    return _SOURCES[text] or text if text else None
