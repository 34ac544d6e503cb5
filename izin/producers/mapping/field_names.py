"""The fields of an input record, and the names that sources use for them, Turkish and English.

JSON, a web form and the library have them by their own names alone; a column of a file may have
any other that is listed here, compared as words are (:mod:`izin.schemas.words`).

What can be wrong with the notation of a record has İYS's code where it has one (H118), and
``IZIN-…`` where it has none. A text says what would be right and never quotes the input, which may
be a person's address.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from izin.consent import Channel, TextEnum, Violation, cut, is_too_long, violation as by_law
from izin.schemas.words import NameTable, listed

NAME: Final = re.compile(r"[a-z0-9]+(?:[ _/.()-]+[a-z0-9]+)*[ ).:*?]*")
"""What a name is made of; a question, a colon and the asterisk of a required field end one."""
GENERIC_STATUSES: Final = ("status", "durum")
"""Names of a status that do not say of what: only ``ONAY`` itself is a consent there."""
LARGEST_INT = 2**31 - 1
LARGEST_LONG = 2**63 - 1
_PRINTED = 40

KNOWN_FIELDS = (
    "recipient (or phone, email), type, status, source, consent_date, recipient_type, brand_code, "
    "origin_ref, id, retailer_code, retailer_access, notice_version, actor, sequence, "
    "correlation_id, evidence_hash, evidence, date_basis"
)


MAX_EVIDENCE = 4096
"""The characters of evidence in all."""

REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "H118": (
            f"no such field; leave it out or use one of: {KNOWN_FIELDS}",
            "Bilinmeyen alan; gönderimden çıkarın ya da bilinen bir alan adı kullanın.",
        ),
        "IZIN-BRAND-UNKNOWN": (
            "brand {brand} is not registered; correct it, or register it: izin brands add {brand}",
            "{brand} kodlu marka kayıtlı değil; düzeltin ya da markayı tanıtın.",
        ),
        "IZIN-BRAND-STOPPED": (
            "brand {brand} is stopped, or its customer offboarded; correct it, or start it again",
            "{brand} kodlu marka durdurulmuş ya da müşterisi ayrılmış; kodu düzeltin.",
        ),
        "IZIN-DATE-BASIS": (
            'date_basis is "stated", or "received" where the recipient acts right now',
            'date_basis yalnızca "stated" ya da "received" olabilir.',
        ),
        "IZIN-EVIDENCE": (
            "evidence is an object of texts, {longest} characters in all; else send evidence_hash",
            "Kanıt, metinlerden oluşan bir nesne olmalı; fazlasının özetini gönderin.",
        ),
        "IZIN-INSTANT": (
            "not an instant that has one meaning; give an aware datetime, such as one in UTC",
            "Tarihin saat dilimi yok ya da tarih değil; saat dilimiyle gönderin.",
        ),
        "IZIN-KEY-BRAND": (
            "this API key is not for the brand or its customer; use one that is",
            "API anahtarı bu marka ya da müşterisi için geçerli değil; uygun anahtarı kullanın.",
        ),
        "IZIN-KEY-CHANNEL": (
            "this API key is not for the channel; use one that is",
            "API anahtarı bu kanal için geçerli değil; uygun anahtarı kullanın.",
        ),
        "IZIN-NOT-A-NUMBER": (
            "not a whole number from 0 to {largest}; write it in digits",
            "0 ile {largest} arasında bir tam sayı değil; yalnızca rakam kullanın.",
        ),
        "IZIN-PAYLOAD": (
            "the payload cannot be mapped: {what}; correct the mapping (izin sources test)",
            "Gelen kayıt eşlenemedi; eşleme dosyasını düzeltin.",
        ),
        "IZIN-OUTBOX-ROW": (
            "the row cannot be read ({what}); correct it, and move it back (docs/outbox.md)",
            "Satır okunamadı; düzeltip giden kutusuna geri alın.",
        ),
        "IZIN-REVERSAL": (
            "would reverse the opt-out (RET) of {at}; import it if the recipient consented since",
            "{at} tarihli RET'i geri alırdı; alıcı daha sonra onay verdiyse yeniden alın.",
        ),
        "IZIN-ROW": (
            "the fields of the row cannot be separated: {what}; correct quotes and delimiters",
            "Satır {width} sütuna ayrılamıyor; ayraçları ve tırnakları düzeltin.",
        ),
        "IZIN-SIZE": (
            "the event cannot be carried: {what}",
            "Kayıt taşınamayacak kadar büyük ya da sözleşmeye uymuyor; alanları kısaltın.",
        ),
        "IZIN-TERM-ENDED": (
            "past its three business days: void unless İYS holds it; get a new consent",
            "Üç iş günü geçmiş; İYS'de kayıtlı değilse geçersizdir: yeni onay alın.",
        ),
        "IZIN-TRANSFER-ENDED": (
            "void since {ended}: the general transfer has ended; get a new consent",
            "Eski onayların aktarımı {ended} günü bitti; geçersiz: yeni onay alın.",
        ),
        "IZIN-TWICE": (
            "{name} is given twice with different values; give it once",
            "Alan iki kez, farklı değerlerle gönderilmiş; bir kez gönderin.",
        ),
        "IZIN-TWO-RECIPIENTS": (
            "recipient and {other} differ; give one of them",
            "Alıcı iki ayrı alanda farklı verilmiş; yalnızca birini verin.",
        ),
        "IZIN-TYPE": (
            "the value must be text or a whole number; write it in quotes",
            "Değer metin ya da tam sayı olmalı; tırnak içinde gönderin.",
        ),
        "IZIN-VOID": (
            "void since {ended}: its three business days are over; get a new consent",
            "Üç iş günü {ended} günü doldu; geçersiz: yeni onay alın.",
        ),
    }
)
"""Each code of the producers with its English and its Turkish reason, as format strings."""


def violation(field: str, code: str, **details: object) -> Violation:
    """Return the violation of ``field`` with ``code``, one of ``REASONS``, filled with details."""
    reason, reason_tr = (text.format_map(details) for text in REASONS[code])
    return Violation(field=field, code=code, reason=reason, reason_tr=reason_tr)


def printable(name: str) -> str:
    """Return a field name of the sender so that it can stand in a response."""
    return "".join(one for one in name[:_PRINTED] if one.isalnum() or one in "_-")


class Field(TextEnum):
    """The fields of an input record: a CSV column, a JSON key or a form field."""

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


CHANNEL_RECIPIENTS: Mapping[str, Field] = MappingProxyType(
    {Channel.ARAMA: Field.PHONE, Channel.MESAJ: Field.PHONE, Channel.EPOSTA: Field.EMAIL}
)
"""The field that holds the recipients of one channel alone."""


FIELD_NAMES: Final = NameTable(
    listed(
        {
            Field.RECIPIENT: "alıcı, alıcı bilgisi, alıcı adresi, iletişim adresi",
            Field.PHONE: (
                "telefon, telefon no, telefon numarası, tel, gsm, gsm no, cep, cep no, cep "
                "telefonu, msisdn, mobile, phone number, mobile phone, cep tel, cep telefonu no, "
                "cep telefon, mobil telefon, gsm numarası"
            ),
            Field.EMAIL: (
                "e-posta, e-posta adresi, eposta adresi, mail, mail adresi, e-mail, e-mail adresi, "
                "email address, elektronik posta"
            ),
            Field.TYPE: (
                "izin türü, izin tipi, ileti türü, iletişim türü, iletişim tipi, kanal, tür, "
                "iletişim kanalı, izin kanalı, channel"
            ),
            Field.STATUS: (
                "izin durumu, durum, onay durumu, onay(1)-ret(0), onay/ret, onay, izin, izin var "
                "mı, consent, consent status, permission"
            ),
            Field.SOURCE: "izin kaynağı, onay kaynağı, kaynak, consent source",
            Field.CONSENT_DATE: (
                "izin tarihi, onay tarihi, izin/ret tarihi, izin verme tarihi, tarih, izin tarihi "
                "saati, izin tarih saat, date, permission date"
            ),
            Field.RECIPIENT_TYPE: "alıcı tipi, alıcı türü",
            Field.BRAND_CODE: "marka, marka kodu, marka no, marka id, brand",
            Field.ORIGIN_REF: (
                "referans, referans no, ref, ref id, kayıt no, reference, transaction id, işlem "
                "no, işlem numarası"
            ),
            Field.SEQUENCE: "",
            Field.ACTOR: "kullanıcı, işlemi yapan",
            Field.CORRELATION_ID: "",
            Field.RETAILER_CODE: "bayi, bayi kodu, bayi no",
            Field.RETAILER_ACCESS: "bayi erişimi",
            Field.NOTICE_VERSION: "metin sürümü, aydınlatma metni sürümü",
            Field.EVIDENCE_HASH: "kanıt özeti",
        }
    ),
    NAME,
)


def field_of(header: str) -> Field | None:
    """Return the field that ``header`` names; None if it is unknown."""
    found = FIELD_NAMES[header]
    return Field(found) if found else None


RECIPIENTS = frozenset({Field.RECIPIENT, Field.PHONE, Field.EMAIL})
TEXTS = (
    Field.ORIGIN_REF,
    Field.ACTOR,
    Field.CORRELATION_ID,
    Field.NOTICE_VERSION,
    Field.EVIDENCE_HASH,
)
"""The fields that are copied unchanged."""
_BOUNDED = RECIPIENTS | {Field.SOURCE, *TEXTS}
"""The fields that are stored as they are. A list of retailers may be longer."""


def bounded(name: Field, text: str, faults: list[Violation]) -> str:
    """Return ``text``, which is clean, as long as the field ``name`` may be; a violation says that
    it was cut.
    """
    if name in _BOUNDED and is_too_long(text):
        faults.append(by_law(name, "IZIN-TEXT-SIZE"))
        return cut(text)
    return text


def number_of(
    name: Field, text: str, faults: list[Violation], largest: int = LARGEST_INT
) -> int | None:
    """Return the whole number that ``text`` is; None, and a violation, if it is none."""
    if (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(largest))
        and int(text) <= largest
    ):
        return int(text)
    faults.append(violation(name, "IZIN-NOT-A-NUMBER", largest=largest))
    return None
