"""What people type, as the ledger keeps it: recipients, instants, texts that may not be empty."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from izin.consent.clocks import TURKEY
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


def instant(text: str) -> datetime:
    """Return an instant in UTC; one without an offset is Turkish time, as all that is printed."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is no instant; write it as 2024-01-31T12:00, in Turkish time or with an offset"
        ) from None
    return (given if given.tzinfo else given.replace(tzinfo=TURKEY)).astimezone(UTC)
