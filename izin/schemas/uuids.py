"""UUIDs (RFC 9562): version 7, which sorts by time, of time and randomness as arguments; version 5
of a digest.
"""

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


def uuid5_of(digest: str) -> str:
    """Return the UUIDv5 that a hexadecimal SHA-1 gives, without the cost of a UUID."""
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
