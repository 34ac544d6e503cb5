"""Time stamps (RFC 3161) of İYS's daily files, as whoever verifies an archive can check them.

That needs rfc3161-client, which the libraries alone do not bring. Without it, or without roots that
are trusted, a time stamp is unverified, and all else of the archive is verified.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from izin.evidence.errors import UnreadableRootsError

MISSING, UNVERIFIED, WRONG = "missing", "unverified", "wrong"
"""States of time stamps, as ``schemas.timestamps`` names them."""


class TimestampFinding(NamedTuple):
    """What is known of a time stamp."""

    state: str
    at: datetime | None = None
    """When it was made, as it says itself."""
    note: str | None = None
    """Why it is wrong, or what its verification needs."""


TimestampCheck = Callable[[bytes | None, str], TimestampFinding]
"""Checks a reply (DER) over a SHA-384 in hex."""


def check_with(roots: Path | None) -> TimestampCheck:
    """Return what checks time stamps against a file of trusted ``roots`` (PEM), or against none.

    Raises:
        UnreadableRootsError: the file cannot be read, or has no certificate.
    """
    try:
        from izin.schemas import timestamps  # noqa: PLC0415  # its packages may be missing
    except ImportError:
        return _not_installed
    try:
        trusted = () if roots is None else timestamps.roots_in(roots)
    except (OSError, ValueError) as error:
        raise UnreadableRootsError(
            f"{roots} has no certificates; name the roots of the time-stamp authority in PEM"
        ) from error

    def check(reply: bytes | None, hash_value: str) -> TimestampFinding:
        found = timestamps.verify(reply, hash_value, trusted)
        is_open = found.state == UNVERIFIED
        note = "bring the roots of its authority (--roots FILE)" if is_open else found.error
        return TimestampFinding(str(found.state), found.at, note)

    return check


def _not_installed(reply: bytes | None, _hash_value: str) -> TimestampFinding:
    if reply is None:
        return TimestampFinding(MISSING)
    return TimestampFinding(UNVERIFIED, note="it needs rfc3161-client: pip install rfc3161-client")
