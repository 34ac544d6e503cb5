"""Columns that say who refused, such as ``Kara Liste``: a yes in them is an opt-out.

None of them holds a status by its name. A caller may say that one does; then what a yes means is
the caller's to say too, for as a status it would be a consent of whoever refused.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from izin.producers.files.value_words import Words
from izin.producers.mapping.field_names import Field, fold, word_key

_REFUSALS: Final = (
    *("iptal", "istem", "engel", "karaliste", "izinsiz", "onaysiz", "vazgec", "cikis"),
    *("blacklist", "optout", "unsubscr", "suppress", "donot"),
)
_MAYBE: Final = ("ret", "red")
"""Beside a word for consent they are one of two statuses, as in ``onay/ret``."""
_CONSENTS: Final = ("onay", "izin", "izni", "consent", "permission")
_FLAGS: Final = frozenset(
    map(
        word_key,
        (
            *("evet", "e", "1", "doğru", "var", "olumlu", "✓", "✔", "yes", "true"),
            *("hayır", "h", "0", "yanlış", "yok", "olumsuz", "no", "n", "false"),
        ),
    )
)
"""Words that answer what the column asks."""
_NO_MEANING: Final = "?"


def says_who_refused(name: str) -> bool:
    """Whether a column called ``name`` says who refused, and not who consented."""
    folded = fold(name)
    if any(one in folded for one in _REFUSALS):
        return True
    is_maybe = any(one in folded for one in _MAYBE)
    return is_maybe and not any(one in folded for one in _CONSENTS)


def without_flags(words: Words) -> Words:
    """Return ``words`` with no meaning for a yes or a no as a status, but where they give it."""
    own: Mapping[str, str] = words.get(Field.STATUS, {})
    statuses = {**dict.fromkeys(_FLAGS, _NO_MEANING), **own}
    return MappingProxyType({**words, Field.STATUS: MappingProxyType(statuses)})
