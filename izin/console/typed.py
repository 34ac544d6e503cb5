"""What people type, as the ledger keeps it: recipients, texts that may not be empty."""

from __future__ import annotations

import typer

from izin.consent.emails import read_email
from izin.consent.errors import UnreadableRecipientError
from izin.consent.phones import read_phone

_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""


def normalised(text: str) -> str:
    """Return a recipient as keys spell it, alone or at the end of a canonical key; raises
    UnreadableRecipientError.
    """
    if text.count("/") >= _SLASHES:
        *whose, recipient = text.split("/", _SLASHES)
        return "/".join((*whose, normalised(recipient)))
    read = read_email(text) if "@" in text else read_phone(text)
    if isinstance(read, str):
        return read
    raise UnreadableRecipientError(read)


def is_key(text: str) -> bool:
    """Whether ``text``, normalised, is a canonical key and no recipient alone."""
    return text.count("/") >= _SLASHES


def filled(text: str) -> str:
    """Return ``text``; what is empty is wrong usage."""
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text
