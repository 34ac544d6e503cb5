"""Decisions that the ledger cannot take, each with its own fault."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from izin.schemas.codec import Codec

CODEC = Codec()
MARK = "reference-to-spoil"
"""The ``origin_ref`` of an event to be spoilt."""

Spoil = Callable[[bytes], bytes]


def _with(consent: Mapping[str, Any], **decision: Any) -> Spoil:  # noqa: ANN401  # any field
    """Return a function that changes fields of a decision and of its consent."""

    def spoil(value: bytes) -> bytes:
        content = CODEC.decode("Decision", value) | decision
        content["consent"] |= consent
        content["event"] |= {name: one for name, one in consent.items() if name in content["event"]}
        return CODEC.encode("Decision", content)

    return spoil


_FAR = datetime(9990, 1, 1, tzinfo=UTC)

UNREADABLE: Mapping[str, Spoil] = {
    "truncated": lambda value: value[: len(value) * 3 // 4],
    "unknown schema": lambda value: value[:2] + bytes(8) + value[10:],
    "no framing": lambda value: b"{" + value,
    "unknown word": _with({"status": "BELKI"}),
}
"""By name: bytes that are no decision."""
REFUSED: Mapping[str, Spoil] = {
    "text that is no UTF-8": lambda value: value.replace(
        MARK.encode(), MARK[:-1].encode() + b"\xff"
    ),
    "instant beyond the calendar": _with({"effective_at": _FAR}, effective_at=_FAR),
}
"""By name: decisions that raise in our code, or that PostgreSQL refuses."""
KEYLESS: Mapping[str, Spoil] = {
    "recipient too long for an index": _with({"recipient": secrets.token_hex(4000)}),
}
"""By name: the same, with a key that no row can have."""
POISON: Mapping[str, Spoil] = {**UNREADABLE, **REFUSED, **KEYLESS}
