"""What can be wrong with a field, in English for operators and in Turkish for those who correct it.

The code is İYS's own (reference section 5.1) where İYS has one, so that a record refused here and
one refused by İYS read alike; ``IZIN-…`` where İYS has none. The wording is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from izin.consent.texts import MAX_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field that breaks a rule. ``code`` is İYS's H-code where it has one, else one of ours."""

    field: str
    code: str
    reason: str
    """In English, for operators."""
    reason_tr: str
    """In Turkish, for the people who correct the record."""

    @property
    def is_note(self) -> bool:
        """Whether it only says that an optional text was cut or cleaned: İYS gets none of those."""
        return self.code in _NOTES and self.field != "recipient"


_NOTES = frozenset({"IZIN-CHARACTER", "IZIN-TEXT-SIZE"})

_BY_IYS: Mapping[str, tuple[str, str]] = {
    "H110": (
        "no status is given; say ONAY or RET",
        "İzin durumu boş; ONAY ya da RET yazın.",
    ),
    "H111": (
        "no channel is given; say ARAMA, MESAJ or EPOSTA",
        "İzin tipi boş; ARAMA, MESAJ ya da EPOSTA yazın.",
    ),
    "H112": (
        "an ONAY needs its instant; give the date and time at which the recipient consented",
        "Onayın verildiği tarih ve saat eksik; alıcının onay verdiği anı bildirin.",
    ),
    "H113": (
        "no source is given; say where the consent was given",
        "İzin kaynağı boş; iznin nereden alındığını yazın.",
    ),
    "H114": (
        "no recipient is given",
        "Alıcı boş; telefon numarası ya da e-posta adresi yazın.",
    ),
    "H115": (
        "the status is neither ONAY nor RET",
        "İzin durumu yalnızca ONAY ya da RET olabilir.",
    ),
    "H116": (
        "the recipient type is neither BIREYSEL nor TACIR",
        "Alıcı tipi yalnızca BIREYSEL ya da TACIR olabilir.",
    ),
    "H117": (
        "the channel is none of ARAMA, MESAJ, EPOSTA",
        "İzin tipi yalnızca ARAMA, MESAJ ya da EPOSTA olabilir.",
    ),
    "H119": (
        "the source is none that a provider may state; IYS_* belongs to İYS alone",
        "Bu kaynak kullanılamaz; HS_ ile başlayan bir kaynak yazın (IYS_ yalnızca İYS'nindir).",
    ),
    "H120": (
        "not an e-mail address İYS takes: 6 to 265 characters, no Turkish letters, no spaces",
        "E-posta adresi geçersiz; 6-265 karakter olmalı, Türkçe harf ve boşluk içermemeli.",
    ),
    "H121": (
        "not a phone number that can be dialled; write it as +905XXXXXXXXX",
        "Telefon numarası geçersiz; +905XXXXXXXXX biçiminde yazın.",
    ),
    "H122": (
        "neither a phone number nor an e-mail address",
        "Alıcı ne bir telefon numarası ne de bir e-posta adresi.",
    ),
    "H126": (
        "more than 3000 retailers are given access",
        "En fazla 3000 bayiye izin erişimi verilebilir.",
    ),
    "H155": (
        "a record from before May 2015 (HS_2015) is dated 2015-05-01 00:00:00, exactly",
        "HS_2015 kaynaklı iznin tarihi tam olarak 2015-05-01 00:00:00 olmalı.",
    ),
    "H156": (
        "the date lies before 1 May 2015",
        "İzin tarihi 1 Mayıs 2015'ten önce olamaz.",
    ),
    "H157": (
        "there is no such date",
        "Böyle bir tarih yok.",
    ),
    "H158": (
        "the date is not written as yyyy-MM-dd HH:mm:ss",
        "Tarihi yyyy-AA-gg SS:dd:ss biçiminde yazın.",
    ),
    "H160": (
        "the phone number is longer than 15 characters",
        "Telefon numarası 15 karakterden uzun olamaz.",
    ),
    "H162": (
        "the date lies ahead of the instant at which we received the event",
        "İzin tarihi, bildirimin bize ulaştığı andan ileri olamaz.",
    ),
    "H163": (
        "the list of retailers is empty; leave it out instead",
        "Bayi listesi boş; bayi yoksa alanı hiç göndermeyin.",
    ),
    "H408": (
        "HS_KARAR is the provider's own decision to opt out; only a RET can have it",
        "HS_KARAR kaynağı yalnızca RET ile kullanılabilir.",
    ),
    "H464": (
        "the channel needs the other kind of address: ARAMA and MESAJ a phone, EPOSTA an e-mail",
        "Alıcı, izin tipine uymuyor: ARAMA ve MESAJ için telefon, EPOSTA için e-posta yazın.",
    ),
}

_OURS: Mapping[str, tuple[str, str]] = {
    "IZIN-BRAND-MISSING": (
        "no brand code is given",
        "Marka kodu eksik.",
    ),
    "IZIN-PURPOSE": (
        "the code of this consent served a membership or a payment too: it is invalid; ask anew",
        "Aynı doğrulama kodu üyelik ya da ödeme için de kullanılmış; onayı ayrıca alın.",
    ),
    "IZIN-CUSTOMER-MISSING": (
        "nothing says whose consent this is",
        "İznin hangi müşteriye ait olduğu belirtilmemiş.",
    ),
    "IZIN-EVENT-ID-MISSING": (
        "the event has no id, so a repeated event could not be distinguished from a new one",
        "Kaydın kimliği (event_id) eksik; yinelenen kayıt ayırt edilemez.",
    ),
    "IZIN-RETAILER-CODE": (
        "a retailer code has eight digits",
        "Bayi kodu sekiz haneli olmalı.",
    ),
    "IZIN-PHONE-AS-DECIMAL": (
        "a spreadsheet made the number a decimal and may have lost digits; export it as text",
        "Tablo programı numarayı ondalık sayıya çevirmiş; sütunu metin yapıp yeniden aktarın.",
    ),
    "IZIN-NUL": (
        "the text has a NUL character (U+0000)",
        "Alanda geçersiz bir karakter (NUL) var; temizleyip yeniden gönderin.",
    ),
    "IZIN-CHARACTER": (
        "the text has bytes that are no UTF-8, or half of a surrogate pair; send UTF-8",
        "Alanda geçersiz karakterler var (UTF-8 değil); temizleyip yeniden gönderin.",
    ),
    "IZIN-TEXT-SIZE": (
        f"the text is longer than {MAX_TEXT} bytes; shorten it, or send it as evidence",
        f"Metin {MAX_TEXT} bayttan uzun; kısaltın ya da kanıt olarak gönderin.",
    ),
    "IZIN-IYS-RECIPIENT": (
        "İYS holds this ONAY on a misspelt address; it opens nothing for the right one",
        "İYS'deki bu onay hatalı yazılmış bir adreste; doğru adres için izin sayılmaz.",
    ),
}

REASONS: Mapping[str, tuple[str, str]] = MappingProxyType({**_BY_IYS, **_OURS})
"""Each code with its English and its Turkish reason."""


@cache
def violation(field: str, code: str) -> Violation:
    """Return the violation of ``field`` with ``code``, one of ``REASONS``."""
    reason, reason_tr = REASONS[code]
    return Violation(field=field, code=code, reason=reason, reason_tr=reason_tr)
