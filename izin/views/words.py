"""How people read and write what the ledger has: texts and instants in a language, recipients in
any usual notation.

Commands say everything in English; screens in the language of the page.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from izin.consent import TURKEY, SourceError, read_email, read_phone
from izin.views.sentences import Sentence, turkish

SLASHES = 3
"""In a canonical key; the recipient behind them may have more."""


class Words(NamedTuple):
    """How texts and instants are said."""

    text: Callable[..., str]
    """Returns a text, English in code, with values for its ``%(name)s``; or a sentence."""
    when: Callable[[datetime | str | None], str]
    """Returns an instant, or its ISO text, in Turkish time; an empty text for none."""


def english(message: str | Sentence, **values: object) -> str:
    """Return a text, or a sentence, as it is in code."""
    return str(message) % values if values else str(message)


ENGLISH = Words(text=english, when=turkish)


def read_instant(text: str) -> datetime:
    """Return an instant in UTC; one without an offset is Turkish time, as in all output.

    Raises:
        ValueError: it is none.
    """
    given = datetime.fromisoformat(text)
    return (given if given.tzinfo else given.replace(tzinfo=TURKEY)).astimezone(UTC)


def normalised(text: str) -> str:
    """Return a recipient as keys spell it, alone or at the end of a canonical key.

    Raises:
        SourceError: It is neither a phone number nor an e-mail address.
    """
    if is_key(text):
        *whose, recipient = text.split("/", SLASHES)
        return "/".join((*whose, normalised(recipient)))
    read = read_email(text) if "@" in text else read_phone(text)
    if isinstance(read, str):
        return read
    raise SourceError(f"{read.code}: {read.reason}")


def is_consent(key: str) -> bool:
    """Whether the key of an entry of the history is that of a consent, which names a recipient: the
    others begin with a word.
    """
    return key[:1].isdigit() and is_key(key)


def is_key(text: str) -> bool:
    """Return whether ``text`` is a canonical key rather than a recipient alone."""
    return text.count("/") >= SLASHES
