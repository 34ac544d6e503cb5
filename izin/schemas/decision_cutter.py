"""Where the fields of a Decision and a Consent stand in its bytes; see ``avro_cutter``.

Generated from the contract by `make docs`; changes here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

from typing import Final

from izin.schemas.avro_reader import SHORT, long_of, long_text

short: Final[list[int]] = SHORT


def cut_head(data: bytes, at: int) -> tuple[int, int, int, int, int, int]:
    """Return places and instants of the head of the Decision at ``at``.

    The places are those behind its
    opted_out, effective_at, violations, partition;
    the instants (milliseconds since 1970, or None) its
    effective_at;
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
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    behind_opted_out = at
    data[run:at].decode()
    bits = int.from_bytes(data[at : at + 6], "little")
    if bits & 0x808080808081 == 0x008080808080:
        zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
        zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
        effective_at_told = zigzag >> 1
        at += 6
    else:
        effective_at_told, at = long_of(data, at)
    run = at
    behind_effective_at = at
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    behind_violations = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
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
    behind_partition = at
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
    data[run:at].decode()
    return (
        behind_opted_out,
        behind_effective_at,
        behind_violations,
        behind_partition,
        effective_at_told,
        at,
    )


def cut_consent(
    data: bytes, at: int
) -> tuple[
    int, int, int, int, int, int, int, int, int, int, int, int | None, int | None, int | None, int
]:
    """Return places and instants of the Consent at ``at``.

    The places are those behind its
    recipient_type, recipient, previous_status, effective_at, origin_rank,
    event_id, source, consent_date, registrable, latest_ret_at;
    the instants (milliseconds since 1970, or None) its
    effective_at, consent_date, latest_onay_at, latest_ret_at;
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
    behind_recipient_type = at
    step = short[data[at]]
    if step:
        at += step
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    behind_recipient = at
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
    behind_previous_status = at
    data[run:at].decode()
    bits = int.from_bytes(data[at : at + 6], "little")
    if bits & 0x808080808081 == 0x008080808080:
        zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
        zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
        effective_at_told = zigzag >> 1
        at += 6
    else:
        effective_at_told, at = long_of(data, at)
    run = at
    behind_effective_at = at
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
    behind_origin_rank = at
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
    behind_consent_date = at
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    behind_registrable = at
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        bits = int.from_bytes(data[at : at + 6], "little")
        if bits & 0x808080808081 == 0x008080808080:
            zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
            zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
            latest_onay_at_told = zigzag >> 1
            at += 6
        else:
            latest_onay_at_told, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        latest_onay_at_told = None
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        bits = int.from_bytes(data[at : at + 6], "little")
        if bits & 0x808080808081 == 0x008080808080:
            zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
            zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
            latest_ret_at_told = zigzag >> 1
            at += 6
        else:
            latest_ret_at_told, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        latest_ret_at_told = None
    else:
        raise ValueError("no such branch")
    behind_latest_ret_at = at
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
    data[run:at].decode()
    return (
        behind_recipient_type,
        behind_recipient,
        behind_previous_status,
        behind_effective_at,
        behind_origin_rank,
        behind_event_id,
        behind_source,
        behind_consent_date,
        behind_registrable,
        behind_latest_ret_at,
        effective_at_told,
        consent_date_told,
        latest_onay_at_told,
        latest_ret_at_told,
        at,
    )
