"""The enumerations of the law, İYS's and ours.

İYS's own values stay Turkish, as they go over the wire; the names of the types are English.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class TextEnum(StrEnum):
    """An enumeration of texts that hashes as ``str`` does: ``StrEnum``'s own hash is a Python
    function, and the hot path looks many things up by these values.
    """

    __hash__ = str.__hash__


class Channel(TextEnum):
    """İYS ``type``: the channel of the messages: call, text message or e-mail."""

    ARAMA = "ARAMA"
    MESAJ = "MESAJ"
    EPOSTA = "EPOSTA"


class RecipientType(TextEnum):
    """İYS ``recipientType``: a private person, or a merchant, who needs no prior consent."""

    BIREYSEL = "BIREYSEL"
    TACIR = "TACIR"


class Status(TextEnum):
    """İYS ``status``: opt-in (ONAY) or opt-out (RET); RET wins where both share a second."""

    ONAY = "ONAY"
    RET = "RET"


class Source(TextEnum):
    """The sources that a service provider may state (reference section 3)."""

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
    """Which event wins where two share second and status: İYS's over one of our own systems."""

    OURS = 0
    IYS_HS = 1
    IYS = 2

    __hash__ = int.__hash__


class DateBasis(TextEnum):
    """How exactly the source stated the consent date, or that it is the instant of receipt."""

    STATED = "stated"
    """To the second."""
    MINUTE = "minute"
    """Without seconds."""
    DAY = "day"
    """Without a time of day: midnight, in Turkey, stands for it."""
    RECEIVED = "received"


class DecisionKind(TextEnum):
    """What ordering made of an event. A duplicate changes nothing and is never published."""

    APPLY = "Apply"
    ENRICHED = "Enriched"
    STALE = "Stale"
    DUPLICATE = "Duplicate"


class Reason(TextEnum):
    """Why ordering decided so."""

    FIRST = "first"
    NEWER = "newer"
    RET_WINS_TIE = "ret-wins-tie"
    BETTER_EVIDENCE = "better-evidence"
    OLDER = "older"
    SAME_EVENT = "same-event"
    LESSER_EVIDENCE = "lesser-evidence"


# For the hot path: calling an enumeration takes four times as long as a lookup.
CHANNELS: Mapping[str, Channel] = {channel.value: channel for channel in Channel}
RECIPIENT_TYPES: Mapping[str, RecipientType] = {one.value: one for one in RecipientType}
STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
SOURCES: Mapping[str, Source] = {source.value: source for source in Source}
