"""What a text may be: characters that can be stored and sent, and a bounded size.

A NUL (U+0000) is in no text of PostgreSQL, and half of a surrogate pair (which JSON can spell) in
no text of UTF-8. They are taken out of a text; in a recipient they are reported, for they may hide
more. An opt-out (RET) is never refused for a text: a text that is too long is cut.
"""

MAX_TEXT = 1000
"""The longest text of an event in bytes, but for its evidence."""


def clean(text: str) -> str:
    """Return ``text`` without what no text may contain."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def has_surrogate(text: str) -> bool:
    """Whether ``text`` contains half of a surrogate pair."""
    return not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)


def is_too_long(text: str) -> bool:
    """Whether ``text``, which is clean, has more than ``MAX_TEXT`` bytes."""
    # Most texts are so short that their bytes need not be counted.
    return len(text) * 4 > MAX_TEXT and len(text.encode()) > MAX_TEXT


def cut(text: str) -> str:
    """Return the beginning of ``text``, which is clean, in at most ``MAX_TEXT`` bytes."""
    return text.encode()[:MAX_TEXT].decode("utf-8", "ignore") if is_too_long(text) else text
