"""The words of the law: every value of İYS's and ours that is one of a few.

İYS's own words stay Turkish, and only as values (what goes over the wire); names are English. This
is the one table of that translation.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Word(StrEnum):
    """One of a few words. It hashes as its text does, which is its equal; an enumeration's own hash
    is a Python function, and the hot path looks many things up by words.
    """

    __hash__ = str.__hash__


class Channel(Word):
    """İYS ``type``: by which channel the company may reach the recipient."""

    ARAMA = "ARAMA"
    MESAJ = "MESAJ"
    EPOSTA = "EPOSTA"


class RecipientType(Word):
    """İYS ``recipientType``: a private person, or a merchant or tradesman (no prior consent
    needed).
    """

    BIREYSEL = "BIREYSEL"
    TACIR = "TACIR"


class Status(Word):
    """İYS ``status``. RET is greater than ONAY: a "no" wins the second it shares with a "yes"."""

    ONAY = "ONAY"
    RET = "RET"


class Source(Word):
    """The sources a service provider may state (reference section 3); İYS's own are open
    strings.
    """

    HS_FIZIKSEL_ORTAM = "HS_FIZIKSEL_ORTAM"
    HS_ISLAK_IMZA = "HS_ISLAK_IMZA"
    HS_WEB = "HS_WEB"
    HS_CAGRI_MERKEZI = "HS_CAGRI_MERKEZI"
    HS_SOSYAL_MEDYA = "HS_SOSYAL_MEDYA"
    HS_EPOSTA = "HS_EPOSTA"
    HS_MESAJ = "HS_MESAJ"
    HS_MOBIL = "HS_MOBIL"
    HS_EORTAM = "HS_EORTAM"
    HS_ETKINLIK = "HS_ETKINLIK"
    HS_2015 = "HS_2015"
    HS_ATM = "HS_ATM"
    HS_KARAR = "HS_KARAR"


class OriginRank(IntEnum):
    """Who is believed when two events share second and status: İYS over our own systems."""

    OURS = 0
    IYS_HS = 1
    IYS = 2

    __hash__ = int.__hash__


class DateBasis(Word):
    """Whether the consent date was stated by the source, or is the instant we received the
    event.
    """

    STATED = "stated"
    RECEIVED = "received"


class DecisionKind(Word):
    """What the law decided of an event. A duplicate changes nothing and is never written."""

    APPLY = "Apply"
    ENRICHED = "Enriched"
    STALE = "Stale"
    DUPLICATE = "Duplicate"


class Reason(Word):
    """Why the law decided so."""

    FIRST = "first"
    NEWER = "newer"
    RET_WINS_TIE = "ret-wins-tie"
    BETTER_EVIDENCE = "better-evidence"
    OLDER = "older"
    SAME_EVENT = "same-event"
    LESSER_EVIDENCE = "lesser-evidence"


# Looked up in the hot path, where calling an enumeration costs four times as much.
CHANNELS: Mapping[str, Channel] = {one.value: one for one in Channel}
RECIPIENT_TYPES: Mapping[str, RecipientType] = {one.value: one for one in RecipientType}
STATUSES: Mapping[str, Status] = {one.value: one for one in Status}
SOURCES: Mapping[str, Source] = {one.value: one for one in Source}
