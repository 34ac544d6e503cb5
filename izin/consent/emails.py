"""E-mail addresses in the form İYS stores: lower-case ASCII, 6 to 265 characters (H120).

İYS's own pattern is not published. This one follows its documents: no spaces, no Turkish letters
and no special characters; a label after ``+`` is allowed, and so are repeated and leading ``-``,
``_`` and ``.`` in the local part. A Turkish letter is refused, not transliterated: another spelling
may be another person's mailbox.
"""

import re
from collections.abc import Callable

from izin.consent.violations import Violation, violation

_FIELD = "recipient"
is_canonical_email: Callable[[str], re.Match[str] | None] = re.compile(
    r"(?=.{6,265}\Z)[a-z0-9._+-]+@(?:[a-z0-9]+(?:-+[a-z0-9]+)*\.)+[a-z]{2,}"
).fullmatch
"""Whether a text is an address in the form İYS stores."""


def read_email(text: str) -> str | Violation:
    """Return the e-mail address in ``text`` in the form İYS stores, or what is wrong with it."""
    if is_canonical_email(text):
        return text
    address = text.strip()
    if not address:
        return violation(_FIELD, "H114")
    # Before lower-casing: the dotted capital I has an ASCII letter in its lower case.
    if not address.isascii():
        return violation(_FIELD, "H120")
    address = address.lower()
    return address if is_canonical_email(address) else violation(_FIELD, "H120")
