"""What the words of a column mean as a status, by what its name says: lists of what is accepted.

A column whose name is known as that of a consent takes every known word. One that is a status of
anything, such as ``durum``, takes ``ONAY`` itself and every word of an opt-out. One that a caller
has mapped to the status, whatever it is called, takes what the caller says, and the words of an
opt-out that answer no question: a yes among refusals, such as ``Kara Liste``, is none.
"""

from enum import StrEnum
from typing import Final

from izin.consent.enums import Status
from izin.consent.texts import clean
from izin.producers.mapping.field_names import NO_MEANING, fold, status_of, word_key

_REFUSALS: Final = (
    *("iptal", "istem", "engel", "karaliste", "izinsiz", "onaysiz", "vazgec", "cikis"),
    *("blacklist", "optout", "unsubscr", "suppress", "donot"),
)
_MAYBE: Final = ("ret", "red")
"""Beside a word for consent they are one of two statuses, as in ``onay/ret``."""
_CONSENTS: Final = ("onay", "izin", "izni", "consent", "permission")
ANSWERS: Final = frozenset(("0", "h", "hayır", "yanlış", "yok", "olumsuz", "no", "n", "false"))
"""Words of an opt-out that answer what the column asks: under another name they deny that."""
_ANSWERS: Final = frozenset(map(word_key, ANSWERS))


class StatusName(StrEnum):
    """What the name of a column of statuses says."""

    CONSENT = "consent"
    ANY = "any"
    """Of something: an account, a call, a consent."""
    MAPPED = "mapped"
    """Nothing that is known."""


def status_in(text: str, name: StatusName) -> str:
    """Return the status that ``text`` means in a column of that name; one without a meaning where
    it has none there.
    """
    found, key = status_of(text), word_key(text)
    if status_of(clean(text).strip()) == Status.RET:
        found = Status.RET  # whatever stands in it that no text may contain
    if name is StatusName.CONSENT or found not in (Status.ONAY, Status.RET):
        return found
    if name is StatusName.ANY:
        is_known = found == Status.RET or key == "onay"
    else:
        is_known = found == Status.RET and key not in _ANSWERS
    return found if is_known else text + NO_MEANING


def says_who_refused(name: str) -> bool:
    """Whether a column called ``name`` says who refused, and not who consented."""
    folded = fold(name)
    if any(one in folded for one in _REFUSALS):
        return True
    is_maybe = any(one in folded for one in _MAYBE)
    return is_maybe and not any(one in folded for one in _CONSENTS)
