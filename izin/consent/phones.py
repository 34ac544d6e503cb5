"""Phone numbers normalised to E.164, İYS's form for ARAMA and MESAJ (H121, H160).

A Turkish number is read in every common notation: ``05…``, ``5…``, ``905…``, ``+905…``,
``0090…``, ``+9005…``, with spaces, brackets, dashes and dots. İYS accepts ``+9005…`` as it stands,
but then neither the citizen nor the carriers find the record: the zero is removed. Numbers of other
countries need their ``+`` (or ``00``) and are checked for a possible length only: not all of İYS's
own examples are assigned numbers.

A trunk prefix is known to be one zero; where ``phonenumbers`` would repair more than that
(``+1 1 …``, ``+54 … 15 …``), the number is refused.

A number that a spreadsheet turned into a decimal (``9,05E+11``) has lost digits and is refused.
"""

import re
from collections.abc import Callable

import phonenumbers

from izin.consent.violations import Violation, violation

LONGEST = 15
"""İYS counts the ``+``."""

_FIELD = "recipient"
_TURKEY = 90

is_canonical_phone: Callable[[str], re.Match[str] | None] = re.compile(
    r"\+90[2-58][0-9]{9}"
).fullmatch
"""Whether a text is a Turkish number that is E.164 as it stands."""
_TURKISH = re.compile(r"(?:(?:\+|00)?90)?0?([2-58][0-9]{9})")
_INTERNATIONAL = re.compile(r"(?:\+|00)([1-9][0-9]*)")
# 00 5XX XXX XX XX is a Turkish mobile with a zero too many as likely as a number of Cuba.
_AMBIGUOUS = re.compile(r"005[0-9]{9}")
_DECIMAL = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+|[0-9]+[.,]0")
_PUNCTUATION = str.maketrans(
    "",
    "",
    " \t\r\n()[]-."
    "\u00a0\u2007\u2009\u202f"  # spaces that do not break
    "\u2010\u2011\u2012\u2013\u2014\u2212"  # hyphens and dashes
    "\u200b\u200e\u200f\u202a\u202c\u2068\u2069\ufeff",  # marks from copying
)


def read_phone(text: str) -> str | Violation:
    """Return the phone number in ``text`` as E.164, or what is wrong with it."""
    if is_canonical_phone(text):
        return text
    if _DECIMAL.fullmatch(text.strip()):
        return violation(_FIELD, "IZIN-PHONE-AS-DECIMAL")
    digits = text.translate(_PUNCTUATION)
    if not digits:
        return violation(_FIELD, "H114")
    if turkish := _TURKISH.fullmatch(digits):
        return f"+90{turkish[1]}"
    return _foreign(digits)


def _foreign(digits: str) -> str | Violation:
    written = _INTERNATIONAL.fullmatch(digits)
    if written is None or _AMBIGUOUS.fullmatch(digits):
        return violation(_FIELD, "H121")
    number = f"+{written[1]}"
    if len(number) > LONGEST:
        return violation(_FIELD, "H160")
    canonical = _e164(number)
    # Normalising twice must change nothing, or one number would have two keys.
    if canonical is None or _e164(canonical) != canonical or not _is_same(number, canonical):
        return violation(_FIELD, "H121")
    return canonical


def _is_same(written: str, canonical: str) -> bool:
    """Whether the two differ by at most one zero: any other repair is a guess."""
    return written == canonical or any(
        digit == "0" and written[:place] + written[place + 1 :] == canonical
        for place, digit in enumerate(written)
    )


def _e164(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    # Valid Turkish numbers were matched before.
    if parsed.country_code == _TURKEY or not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
