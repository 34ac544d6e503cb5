"""What a text may be: characters that can be stored and sent, and a bounded size.

A NUL (U+0000) is in no text of PostgreSQL, and half of a surrogate pair (which JSON can spell) in
no text of UTF-8. They are taken out of a text; in a recipient they are reported, for they may hide
more. An opt-out (RET) is never refused for a text: a text that is too long is cut.

What controls a terminal, reverses the writing or begins a line may be in a text, but is only ever
shown: whatever prints, logs or writes a text for people passes it through ``visible``.
"""

import re

MAX_TEXT = 1000
"""The longest text of an event in bytes, but for its evidence."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 but for tab and newline, DEL, C1, separators of lines, overrides of direction, surrogates."""
_VISIBLE = re.compile(r"\\u([0-9a-f]{4})")


def visible(text: str) -> str:
    r"""Return ``text`` with its controls written out, as JSON does: an escape is ``\\u001b``.

    Tab and newline stay. JSON stays JSON of the same value.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_written(text: str) -> str:
    """Return the text of which ``visible`` made ``text``."""
    return _VISIBLE.sub(
        lambda found: one if _CONTROLS.match(one := chr(int(found[1], 16))) else found[0], text
    )


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
