"""Verify the time stamp of a hash (RFC 3161): who says that it was there, and when.

Valid is a reply whose signature leads to a trusted root, whose certificate is one for time stamps,
and which names that hash: a SHA-384 of İYS's daily files, a SHA-512 of our anchors. Without trusted
roots nothing is verified.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cryptography.x509 import Certificate, ObjectIdentifier, load_pem_x509_certificates
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

_ALGORITHMS = {
    96: ObjectIdentifier("2.16.840.1.101.3.4.2.2"),
    128: ObjectIdentifier("2.16.840.1.101.3.4.2.3"),
}
"""By the number of hexadecimal digits: SHA-384, SHA-512."""


class TimestampState(StrEnum):
    """What is known of a time stamp."""

    MISSING = "missing"
    """İYS has none."""
    UNVERIFIED = "unverified"
    """It is kept; no roots are trusted."""
    VERIFIED = "verified"
    WRONG = "wrong"
    """It is of another hash, or of nobody that is trusted."""


class Timestamp(NamedTuple):
    """What is known of a time stamp."""

    state: TimestampState
    at: datetime | None
    """When it was made, as it says itself."""
    error: str | None = None
    """Why it is wrong."""


def roots_in(file: Path) -> tuple[Certificate, ...]:
    """Return the certificates in a file (PEM); raises OSError, and ValueError where it has none."""
    return tuple(load_pem_x509_certificates(file.read_bytes()))


def verify(reply: bytes | None, hash_value: str, roots: Sequence[Certificate]) -> Timestamp:
    """Return what is known of the ``reply`` (DER) over a hash in hex; None: İYS has none."""
    if reply is None:
        return Timestamp(TimestampState.MISSING, None)
    try:
        read = decode_timestamp_response(reply)
        info = read.tst_info
        at = info.gen_time
    except ValueError:
        return Timestamp(TimestampState.WRONG, None, "it is no time-stamp reply")
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    imprint = info.message_imprint
    algorithm = _ALGORITHMS.get(len(hash_value))
    if imprint.hash_algorithm != algorithm or imprint.message != bytes.fromhex(hash_value):
        return Timestamp(TimestampState.WRONG, at, "it is of another hash")
    if not roots:
        return Timestamp(TimestampState.UNVERIFIED, at)
    builder = VerifierBuilder(roots=list(roots))
    try:
        builder.build().verify(read, bytes.fromhex(hash_value))
    except VerificationError:
        # Its message is the error stack of OpenSSL.
        return Timestamp(
            TimestampState.WRONG, at, "it was altered, or no trusted root stands behind it"
        )
    return Timestamp(TimestampState.VERIFIED, at)
