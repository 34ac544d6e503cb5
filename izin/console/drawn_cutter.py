"""Draws the module that cuts a ConsentEvent: the one that every statement goes through."""

from __future__ import annotations

from textwrap import fill

from izin.schemas import contracts
from izin.schemas.avro_cutter import draw

_RECORD = "ConsentEvent"
_BEHIND = (
    "event_id",
    "customer_id",
    "recipient",
    "recipient_raw",
    "source",
    "received_at",
    "origin",
    "row",
    "retailer_access",
    "evidence_hash",
)
_INSTANTS = ("consent_date", "received_at")

_MODULE = '''"""Where the fields of a ConsentEvent stand in its bytes; see ``avro_cutter``.

Drawn from the contract by `make docs`; changes here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - drawn line by line

from __future__ import annotations

from typing import Final

from izin.schemas import contracts
from izin.schemas.avro_cutter import passer_of
from izin.schemas.avro_reader import SHORT, long_of, long_text

short: Final[list[int]] = SHORT
_KINDS = {{one["name"]: one["type"] for one in contracts.current()["{record}"].schema["fields"]}}
{readers}


def cut(
    data: bytes, at: int
) -> {returns}:
    """Return places and instants of the record at ``at``.

    The places are those behind its
    {behind};
    the instants its {instants} (milliseconds since 1970, or None);
    the last place is that behind the record.

    Raises whatever it stumbles on where the bytes are wrong or unusual.
    """
{body}
'''

_READER = 'read_{name}: Final = passer_of(_KINDS["{name}"])'


def drawn_cutter() -> str:
    """Return the source of ``schemas.statement_cutter``."""
    drawn = draw(contracts.current()[_RECORD].schema, _BEHIND, _INSTANTS)
    return _MODULE.format(
        record=_RECORD,
        readers="\n".join(_READER.format(name=name) for name in drawn.readers),
        returns=drawn.returns,
        behind=fill(", ".join(_BEHIND), width=70, subsequent_indent="    "),
        instants=" and ".join(_INSTANTS),
        body=drawn.body,
    )
