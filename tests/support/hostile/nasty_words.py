"""How people and programs in Turkey write what a consent consists of, and what each text means."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

ONAYS = (
    *("ONAY", "Onay", "onaylı", "ONAYLANDI", "Evet", "EVET", "evet ", "e", "E", "1", "1,0", "1.0"),
    *("DOĞRU", "true", "True", "Yes", "var", "VAR", "İzinli", "IZINLI", "izni var", "Kabul"),
    *("kabul etti", "istiyor", "opt-in", "✓", '="ONAY"', "'1", "İzin Verdi", "onay\u00a0"),
)
RETS = (
    *("RET", "ret", "Red", "RED", "Reddedildi", "REDDETTİ", "Hayır", "HAYIR", "hayir", "h", "H"),
    *("0", "0,0", "0.0", "YANLIŞ", "false", "False", "No", "yok", "YOK", "İptal", "IPTAL"),
    *("iptal edildi", "vazgeçti", "VAZGEÇTİ", "izinsiz", "istemiyor", "kabul etmedi", "opt-out"),
    *("Pasif", "PASİF", "P", '="RET"', "'0", "onaysız", "listeden çıktı", "kara liste", "n"),
)
UNCLEAR = (
    *("X", "x", "Y", "?", "belki", "aktif", "2", "RET?", "onay ?", "T", "beklemede"),
    *("#YOK", "#AD?", "", "-"),
)
"""A person would have to ask, too. The last two say nothing."""
CHANNELS = {
    "MESAJ": ("SMS", "sms", "Kısa Mesaj", "MESAJ", "kisa mesaj", '="SMS"'),
    "ARAMA": ("ARAMA", "Çağrı", "Sesli Arama", "telefon", "Telefonla Arama"),
    "EPOSTA": ("E-POSTA", "EPOSTA", "e-mail", "Mail", "E-Posta"),
}
SOURCES = {
    "HS_WEB": ("HS_WEB", "hs_web", "Web", "Web Sitesi", "WEB SİTESİ"),
    "HS_FIZIKSEL_ORTAM": ("HS_FIZIKSEL_ORTAM", "Mağaza", "MAĞAZA", "Fiziksel Ortam"),
    "HS_CAGRI_MERKEZI": ("Çağrı Merkezi", "HS_CAGRI_MERKEZİ", "call center"),
}
_PHONES = (
    *("0{0}", "{0}", "+90{0}", "90{0}", "0090{0}", "0 ({1}) {2} {3} {4}", "0{1} {2} {3} {4}"),
    *("0{1}-{2}-{3}{4}", '="0{0}"', "'0{0}", "\u202a+90 {1} {2} {3} {4}\u202c", "0{0}\u00a0"),
)
_MAILS = ("{0}", " {0}", "{1}", '="{0}"', "{0}\u00a0", "'{0}")
LOST_DIGITS = ("5,55E+09", "5.55E+09", "########", "5550000000,5", "555 000", "")
_MONTHS = ("", "Ocak", "Şubat", "MART", "Nis")
_DAY_ZERO = datetime(1899, 12, 30, tzinfo=UTC)
_DATES: tuple[Callable[[datetime], str], ...] = (
    lambda at: f"{at:%d.%m.%Y %H:%M:%S}",
    lambda at: f"{at.day}.{at.month}.{at:%Y %H:%M:%S}",
    lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
    lambda at: f"{at:%Y/%m/%d %H:%M:%S}",
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S}+03:00",
    lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z",
    lambda at: f"{at:%d-%m-%Y %H:%M:%S}",
    lambda at: f'="{at:%d.%m.%Y %H:%M:%S}"',
    lambda at: f"{at.day} {_MONTHS[at.month]} {at:%Y %H:%M:%S}",
    lambda at: f"{at:%d.%m.%Y %I:%M:%S} {'ÖS' if at.hour > 11 else 'ÖÖ'}",
    lambda at: f"{at:%d.%m.%Y\u00a0%H:%M:%S}",
)
_UNCERTAIN_DATES: tuple[Callable[[datetime], str], ...] = (
    lambda at: f"{at:%d/%m/%Y %H:%M:%S}",
    lambda at: f"{at.month}/{at.day}/{at:%Y %H:%M:%S}",
    lambda at: f"{at:%d.%m.%y %H:%M}",
    lambda at: f"{at:%d.%m.%Y}",
    lambda at: f"{(at.replace(tzinfo=UTC) - _DAY_ZERO) / timedelta(days=1):.5f}",
    lambda _: "geçen hafta",
)
NOTES = ("", "-", "VIP", "aradı; tekrar aranacak", 'kendi "sözü"', "iki\nsatır", "NULL", "ığüşöç")


class Person(NamedTuple):
    """Somebody with a phone and an e-mail address, as keys spell them."""

    phone: str
    mail: str

    @classmethod
    def numbered(cls, number: int) -> "Person":
        """Return one whom nobody else is."""
        return cls(f"+90555{number:07d}", f"kisi.{number}@example.com")

    def recipient(self, channel: str) -> str:
        """Return the recipient of messages of ``channel``."""
        return self.mail if channel == "EPOSTA" else self.phone


def a_phone(chance: random.Random, phone: str) -> str:
    """Return the number in one of the notations."""
    digits = phone.removeprefix("+90")
    groups = (digits, digits[:3], digits[3:6], digits[6:8], digits[8:])
    return chance.choice(_PHONES).format(*groups)


def a_mail(chance: random.Random, mail: str) -> str:
    """Return the address in one of the notations."""
    return chance.choice(_MAILS).format(mail, mail.title())


def a_date(chance: random.Random, at: datetime) -> str:
    """Return the instant so that everybody reads the same second."""
    return chance.choice(_DATES)(at)


def an_uncertain_date(chance: random.Random, at: datetime) -> str:
    """Return the instant so that nobody can tell which second it was."""
    return chance.choice(_UNCERTAIN_DATES)(at)
