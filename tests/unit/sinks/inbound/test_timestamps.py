"""A time stamp is verified by RFC 3161, against the roots of the settings alone."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.runtime.errors import SettingError
from izin.schemas.timestamps import Timestamp, TimestampState, verify
from izin.sinks.inbound.daily.loop import trusted_roots

AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
AT = datetime(2026, 3, 3, 3, tzinfo=UTC)
HASH = hashlib.sha384(b"a day").hexdigest()
REPLY = AUTHORITY.reply(HASH, AT, 7)
ROOTS = load_pem_x509_certificates(AUTHORITY.root_pem)


def test_reply_of_trusted_root_is_verified():
    """With the time that it states."""
    assert verify(REPLY, HASH, ROOTS) == Timestamp(TimestampState.VERIFIED, AT)


def test_reply_without_trusted_roots_is_unverified():
    """It is kept; nobody says that it is right."""
    assert verify(REPLY, HASH, ()) == Timestamp(TimestampState.UNVERIFIED, AT)


def test_reply_of_unknown_root_is_wrong():
    """A signer that our settings do not trust."""
    roots = load_pem_x509_certificates(STRANGER.root_pem)
    assert verify(REPLY, HASH, roots).state is TimestampState.WRONG


@pytest.mark.parametrize("roots", [ROOTS, []], ids=["trusted", "none"])
def test_reply_over_another_hash_is_wrong(roots: list[object]):
    """Signed well, for another file."""
    other = hashlib.sha384(b"another day").hexdigest()
    found = verify(REPLY, other, roots)  # type: ignore[arg-type]
    assert (found.state, found.error) == (TimestampState.WRONG, "it is of another hash")


@pytest.mark.parametrize(
    "part",
    [bytes.fromhex(HASH), b"20260303030000Z", REPLY[-40:]],
    ids=["hash", "time", "signature"],
)
def test_altered_reply_is_wrong(part: bytes):
    """The hash, the time, and the signature."""
    place = REPLY.index(part) + len(part) // 2
    altered = REPLY[:place] + bytes([REPLY[place] ^ 1]) + REPLY[place + 1 :]
    assert verify(altered, HASH, ROOTS).state is TimestampState.WRONG


@pytest.mark.parametrize("content", [b"", b"no reply", REPLY[:-1]], ids=["empty", "page", "half"])
def test_what_is_no_reply_is_wrong(content: bytes):
    """An error page, or half a reply."""
    assert verify(content, HASH, ROOTS).state is TimestampState.WRONG


def test_day_without_reply_has_none():
    """İYS answered 204."""
    assert verify(None, HASH, ROOTS) == Timestamp(TimestampState.MISSING, None)


def test_roots_come_from_the_file_of_the_settings(tmp_path: Path):
    """Several in one file; no setting, no roots."""
    file = tmp_path / "roots.pem"
    file.write_bytes(AUTHORITY.root_pem + STRANGER.root_pem)
    assert len(trusted_roots(file)) == 2
    assert trusted_roots(None) == ()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_file_without_roots_stops_the_process(tmp_path: Path, content: bytes | None):
    """It names the setting: stamps would else be called unverified for ever."""
    file = tmp_path / "roots.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match="IZIN_TIMESTAMP_ROOTS"):
        trusted_roots(file)
