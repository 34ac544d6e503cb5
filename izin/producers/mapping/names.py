"""The words in which sources speak of consent, Turkish and English, and what each means.

A header or value is compared folded: lower case, Turkish letters without their marks, nothing but
letters and digits; so ``İZİN TÜRÜ``, ``IZIN_TURU`` and ``izin türü`` are one word. A word that is
in no table here is handed to the law as it stands, which names what is wrong with it: nothing is
read by likeness.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from izin.consent.model import Channel, RecipientType, Source, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Field(StrEnum):
    """What a column, a key of JSON or a form's field can hold."""

    RECIPIENT = "recipient"
    PHONE = "phone"
    """A recipient where the channel is ARAMA or MESAJ."""
    EMAIL = "email"
    """A recipient where the channel is EPOSTA."""
    TYPE = "type"
    STATUS = "status"
    SOURCE = "source"
    CONSENT_DATE = "consent_date"
    RECIPIENT_TYPE = "recipient_type"
    BRAND_CODE = "brand_code"
    ORIGIN_REF = "origin_ref"
    SEQUENCE = "sequence"
    ACTOR = "actor"
    CORRELATION_ID = "correlation_id"
    RETAILER_CODE = "retailer_code"
    RETAILER_ACCESS = "retailer_access"
    NOTICE_VERSION = "notice_version"
    EVIDENCE_HASH = "evidence_hash"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


JSON_NAMES: Mapping[str, str] = MappingProxyType(
    {**{one: _camel(one) for one in Field}, Field.ORIGIN_REF: "ref"}
)
"""What a field is called in JSON where the sender chose no other of its names."""

_MARKS = str.maketrans("İIıŞşĞğÜüÖöÇçÂâÎîÛû", "iiissgguuooccaaiiuu")


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Return ``text`` as words are compared: lower-case ASCII letters and digits only."""
    plain = text.translate(_MARKS).lower()
    return "".join(one for one in plain if one.isascii() and one.isalnum())


def _table(words: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    return MappingProxyType(
        {fold(word): meaning for meaning, names in words.items() for word in (meaning, *names)}
    )


_FIELDS = _table(
    {
        Field.RECIPIENT: ("alıcı", "alıcı bilgisi", "iletişim adresi"),
        Field.PHONE: (
            "telefon",
            "telefon no",
            "telefon numarası",
            "tel",
            "gsm",
            "gsm no",
            "cep",
            "cep no",
            "cep telefonu",
            "msisdn",
            "mobile",
            "phone number",
        ),
        Field.EMAIL: ("e-posta", "e-posta adresi", "mail", "e-mail", "email address"),
        Field.TYPE: ("izin türü", "kanal", "tür", "iletişim kanalı", "channel"),
        Field.STATUS: ("izin durumu", "durum", "onay durumu", "onay(1)-ret(0)", "onay/ret", "onay"),
        Field.SOURCE: ("izin kaynağı", "kaynak"),
        Field.CONSENT_DATE: ("izin tarihi", "tarih", "izin tarihi saati", "date"),
        Field.RECIPIENT_TYPE: ("alıcı tipi", "alıcı türü"),
        Field.BRAND_CODE: ("marka", "marka kodu", "marka no", "brand"),
        Field.ORIGIN_REF: ("referans", "referans no", "ref", "ref id", "kayıt no", "reference"),
        Field.SEQUENCE: (),
        Field.ACTOR: ("kullanıcı", "işlemi yapan"),
        Field.CORRELATION_ID: (),
        Field.RETAILER_CODE: ("bayi", "bayi kodu", "bayi no"),
        Field.RETAILER_ACCESS: ("bayi erişimi",),
        Field.NOTICE_VERSION: ("metin sürümü", "aydınlatma metni sürümü"),
        Field.EVIDENCE_HASH: ("kanıt özeti",),
    }
)
_STATUSES = _table(
    {
        Status.ONAY: ("1", "evet", "onaylı", "onaylandı", "yes", "true", "opt-in"),
        Status.RET: ("0", "hayır", "red", "reddedildi", "no", "false", "opt-out"),
    }
)
_CHANNELS = _table(
    {
        Channel.ARAMA: ("telefon", "sesli arama", "çağrı", "call", "phone", "voice"),
        Channel.MESAJ: ("sms", "kısa mesaj", "message", "text message"),
        Channel.EPOSTA: ("e-posta", "email", "e-mail", "mail"),
    }
)
_RECIPIENT_TYPES = _table(
    {
        RecipientType.BIREYSEL: ("individual", "birey"),
        # KURUMSAL is TACIR's own former name at İYS (renamed in May 2020).
        RecipientType.TACIR: ("esnaf", "tacir/esnaf", "kurumsal", "merchant"),
    }
)
_SOURCES = _table(
    {
        Source.HS_FIZIKSEL_ORTAM: ("fiziksel ortam",),
        Source.HS_ISLAK_IMZA: ("ıslak imza",),
        Source.HS_WEB: ("web", "web sitesi", "website"),
        Source.HS_CAGRI_MERKEZI: ("çağrı merkezi", "call center", "call centre"),
        Source.HS_SOSYAL_MEDYA: ("sosyal medya", "social media"),
        Source.HS_EPOSTA: ("e-posta", "email"),
        Source.HS_MESAJ: ("mesaj", "sms"),
        Source.HS_MOBIL: ("mobil", "mobil uygulama", "mobile app"),
        Source.HS_EORTAM: ("elektronik ortam", "e-ortam"),
        Source.HS_ETKINLIK: ("etkinlik", "event"),
        Source.HS_2015: (),
        Source.HS_ATM: ("atm",),
        Source.HS_KARAR: (),
    }
)


def field_of(header: str) -> Field | None:
    """Return what a column or key of this name holds; None: no table knows it."""
    found = _FIELDS.get(fold(header))
    return None if found is None else Field(found)


def status_of(text: str) -> str:
    """Return the status that ``text`` means, or ``text`` itself where no table knows it."""
    return _STATUSES.get(fold(text), text)


def channel_of(text: str) -> str:
    """Return the channel that ``text`` means, or ``text`` itself where no table knows it."""
    return _CHANNELS.get(fold(text), text)


def recipient_type_of(text: str) -> str:
    """Return the recipient type that ``text`` means, or itself; İYS's default where empty."""
    return _RECIPIENT_TYPES.get(fold(text), text) if text else RecipientType.BIREYSEL


def source_of(text: str) -> str | None:
    """Return the source that ``text`` means, or ``text`` itself; None where it is empty."""
    return _SOURCES.get(fold(text), text) if text else None
