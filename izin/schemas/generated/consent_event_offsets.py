"""Find where the fields of a ConsentEvent end in its bytes; see ``tools.offset_codegen``.

Generated from the contract by `make docs`; changes made here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from izin.schemas import contracts
from izin.schemas.fast.reader import long_of, long_text, reader_of_some

_KINDS = {one["name"]: one["type"] for one in contracts.current()["ConsentEvent"].schema["fields"]}
read_retailer_access: Final = reader_of_some(_KINDS["retailer_access"])
read_iys: Final = reader_of_some(_KINDS["iys"])


def event_offsets(
    data: bytes, at: i64
) -> tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int | None,
    int | None,
    int,
]:
    """Return offsets and instants of the ConsentEvent at ``at``.

    The offsets are those behind its
    event_id, customer_id, recipient, recipient_raw, source, received_at,
    origin, origin_ref, cause, import_id, row, retailer_access,
    notice_version, evidence_hash;
    the instants (milliseconds since 1970, None for null) are its
    consent_date, received_at;
    the last offset is that behind it.

    Raises IndexError, ValueError or TypeError where the bytes are wrong or unusual.
    """
    run: i64 = at
    first: i64
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    event_id_end = at
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    customer_id_end = at
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
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    recipient_end = at
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    recipient_raw_end = at
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    source_end = at
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        consent_date_millis, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        consent_date_millis = None
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        received_at_millis, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        received_at_millis = None
    else:
        raise ValueError("no such branch")
    received_at_end = at
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    origin_end = at
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    origin_ref_end = at
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
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    cause_end = at
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    import_id_end = at
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
    row_end = at
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
    retailer_access_end = at
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    notice_version_end = at
    count = data[at]
    if count > 127 or count & 1:
        raise ValueError("many, or sized")
    at += 1
    if count:
        for _ in range(count):
            first = data[at]
            if first & 129 == 0:
                at += 1 + (first >> 1)
            else:
                data[run:at].decode()
                run, at = long_text(data, at)
        if data[at]:
            raise ValueError("in several blocks")
        at += 1
    if data[at] == 2:
        at += 1
        first = data[at]
        if first & 129 == 0:
            at += 1 + (first >> 1)
        else:
            data[run:at].decode()
            run, at = long_text(data, at)
    elif data[at] == 0:
        at += 1
    else:
        raise ValueError("no such branch")
    evidence_hash_end = at
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
        event_id_end,
        customer_id_end,
        recipient_end,
        recipient_raw_end,
        source_end,
        received_at_end,
        origin_end,
        origin_ref_end,
        cause_end,
        import_id_end,
        row_end,
        retailer_access_end,
        notice_version_end,
        evidence_hash_end,
        consent_date_millis,
        received_at_millis,
        at,
    )
