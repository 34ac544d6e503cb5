"""UUIDv7 (RFC 9562), which sorts by time; time and randomness are arguments."""

from datetime import datetime
from uuid import UUID

from izin.consent import aware

CHANCE_BYTES = 10
"""The random bytes that :func:`uuid7` needs."""


def uuid7(at: datetime, chance: bytes) -> UUID:
    """Return the UUIDv7 of the instant ``at`` and ten random bytes ``chance``."""
    if len(chance) != CHANCE_BYTES:
        raise ValueError(f"uuid7 takes {CHANCE_BYTES} bytes of chance, not {len(chance)}")
    milliseconds = int(aware("at", at).timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(chance, "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=number)
