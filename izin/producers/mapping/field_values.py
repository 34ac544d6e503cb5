"""The values of an input record's fields: texts as long as they may be, and whole numbers."""

from izin.consent.texts import cut, is_too_long
from izin.consent.violations import Violation
from izin.consent.violations import violation as by_law
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.violations import violation

LARGEST_INT = 2**31 - 1
LARGEST_LONG = 2**63 - 1

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
