"""What can be wrong with the notation of an input record, before the law validates its content.

İYS's code where it has one (H118); ``IZIN-…`` where it has none. A text says what would be right
and never quotes the input, which may be a person's address.
"""

from collections.abc import Mapping
from types import MappingProxyType

from izin.consent.violations import Violation

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
