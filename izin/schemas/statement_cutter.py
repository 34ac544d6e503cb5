"""Where the fields of a ConsentEvent stand in its bytes; see ``avro_cutter``.

Generated from the contract by `make docs`; changes here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

from typing import Final

from izin.schemas import contracts
from izin.schemas.avro_cutter import passer_of
from izin.schemas.avro_reader import SHORT, long_of, long_text

short: Final[list[int]] = SHORT
_KINDS = {one["name"]: one["type"] for one in contracts.current()["ConsentEvent"].schema["fields"]}
read_retailer_access: Final = passer_of(_KINDS["retailer_access"])
read_iys: Final = passer_of(_KINDS["iys"])


def cut(
    data: bytes, at: int
) -> tuple[int, int, int, int, int, int, int, int, int, int, int | None, int | None, int]:
    """Return places and instants of the ConsentEvent at ``at``.

    The places are those behind its
    event_id, customer_id, recipient, recipient_raw, source, received_at,
    origin, row, retailer_access, evidence_hash;
    the instants (milliseconds since 1970, or None) its
    consent_date, received_at;
    the last place is that behind it.

    Raises whatever it stumbles on where the bytes are wrong or unusual.
    """
    run = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    behind_event_id = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    behind_customer_id = at
    if data[at] < 128:
        at += 1
    else:
        data[run:at].decode()
        if data[at + 1] < 128:
            at = run = at + 2
        elif data[at + 2] < 128:
            at = run = at + 3
        else:
            at = run = long_of(data, at)[1]
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    behind_recipient = at
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    behind_recipient_raw = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    behind_source = at
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        bits = int.from_bytes(data[at : at + 6], "little")
        if bits & 0x808080808081 == 0x008080808080:
            zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
            zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
            consent_date_told = zigzag >> 1
            at += 6
        else:
            consent_date_told, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        consent_date_told = None
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        bits = int.from_bytes(data[at : at + 6], "little")
        if bits & 0x808080808081 == 0x008080808080:
            zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
            zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
            received_at_told = zigzag >> 1
            at += 6
        else:
            received_at_told, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        received_at_told = None
    else:
        raise ValueError("no such branch")
    behind_received_at = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    behind_origin = at
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        if data[at] < 128:
            at += 1
        else:
            data[run:at].decode()
            if data[at + 1] < 128:
                at = run = at + 2
            elif data[at + 2] < 128:
                at = run = at + 3
            else:
                at = run = long_of(data, at)[1]
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        if data[at] < 128:
            at += 1
        else:
            data[run:at].decode()
            if data[at + 1] < 128:
                at = run = at + 2
            elif data[at + 2] < 128:
                at = run = at + 3
            else:
                at = run = long_of(data, at)[1]
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    behind_row = at
    if data[at] == 2:
        at += 1
        if data[at] < 128:
            at += 1
        else:
            data[run:at].decode()
            if data[at + 1] < 128:
                at = run = at + 2
            elif data[at + 2] < 128:
                at = run = at + 3
            else:
                at = run = long_of(data, at)[1]
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        at = run = read_retailer_access(data, at)[1]
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    behind_retailer_access = at
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    count = data[at]
    if count > 127 or count & 1:
        raise ValueError("many, or sized")
    at += 1
    if count:
        for _ in range(count):
            step = short[data[at]]
            if step:
                at += step
            else:
                data[run:at].decode()
                run, at = long_text(data, at)
        if data[at]:
            raise ValueError("in several blocks")
        at += 1
    if data[at] == 2:
        at += 1
        step = short[data[at]]
        if step:
            at += step
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    behind_evidence_hash = at
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        at = run = read_iys(data, at)[1]
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    data[run:at].decode()
    return (
        behind_event_id,
        behind_customer_id,
        behind_recipient,
        behind_recipient_raw,
        behind_source,
        behind_received_at,
        behind_origin,
        behind_row,
        behind_retailer_access,
        behind_evidence_hash,
        consent_date_told,
        received_at_told,
        at,
    )
