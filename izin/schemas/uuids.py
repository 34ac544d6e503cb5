"""UUIDs (RFC 9562) as text: version 7, which sorts by time, of time and randomness as arguments;
version 5 of a digest. A ``UUID`` in between would cost more than all else.
"""

from datetime import datetime

from izin.consent import aware

CHANCE_BYTES = 10
"""The random bytes that :func:`uuid7` needs."""


def uuid7(at: datetime, chance: bytes) -> str:
    """Return the UUIDv7 of the instant ``at`` and ten random bytes ``chance``."""
    if len(chance) != CHANCE_BYTES:
        raise ValueError(f"uuid7 takes {CHANCE_BYTES} bytes of chance, not {len(chance)}")
    milliseconds = int(aware("at", at).timestamp() * 1000)
    return _text("7", (milliseconds.to_bytes(6, "big") + chance).hex())


def uuid5_of(digest: str) -> str:
    """Return the UUIDv5 that a hexadecimal SHA-1 gives."""
    return _text("5", digest)


def _text(version: str, digits: str) -> str:
    """Return the UUID of a ``version``; its other bits are the first 32 hexadecimal ``digits``."""
    variant = "89ab"[int(digits[16], 16) & 3]
    return (
        f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}"
        f"-{variant}{digits[17:20]}-{digits[20:32]}"
    )
