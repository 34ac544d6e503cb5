"""Find where the fields of a Decision and a Consent end in its bytes; see ``tools.offset_codegen``.

Generated from the contract by `make docs`; changes made here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

from mypy_extensions import i64

from izin.schemas.fast.reader import long_of, long_text


def head_offsets(data: bytes, at: i64) -> tuple[int, int, int, int, int, int]:
    """Return offsets and instants of the head of the Decision at ``at``.

    The offsets are those behind its
    opted_out, effective_at, violations, partition;
    the instants (milliseconds since 1970, None for null) are its
    effective_at;
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
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    opted_out_end = at
    data[run:at].decode()
    effective_at_millis, at = long_of(data, at)
    run = at
    effective_at_end = at
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    violations_end = at
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
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
    partition_end = at
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
        opted_out_end,
        effective_at_end,
        violations_end,
        partition_end,
        effective_at_millis,
        at,
    )


def consent_offsets(
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
    int | None,
    int | None,
    int | None,
    int,
]:
    """Return offsets and instants of the Consent at ``at``.

    The offsets are those behind its
    recipient_type, recipient, previous_status, effective_at, origin_rank,
    event_id, source, consent_date, registrable, latest_ret_at;
    the instants (milliseconds since 1970, None for null) are its
    effective_at, consent_date, latest_onay_at, latest_ret_at;
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
    recipient_type_end = at
    first = data[at]
    if first & 129 == 0:
        at += 1 + (first >> 1)
    else:
        data[run:at].decode()
        run, at = long_text(data, at)
    recipient_end = at
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
    previous_status_end = at
    data[run:at].decode()
    effective_at_millis, at = long_of(data, at)
    run = at
    effective_at_end = at
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
    origin_rank_end = at
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
    consent_date_end = at
    if data[at] > 1:
        raise ValueError("no boolean")
    at += 1
    registrable_end = at
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        latest_onay_at_millis, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        latest_onay_at_millis = None
    else:
        raise ValueError("no such branch")
    if data[at] == 2:
        at += 1
        data[run:at].decode()
        latest_ret_at_millis, at = long_of(data, at)
        run = at
    elif data[at] == 0:
        at += 1
        latest_ret_at_millis = None
    else:
        raise ValueError("no such branch")
    latest_ret_at_end = at
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
        recipient_type_end,
        recipient_end,
        previous_status_end,
        effective_at_end,
        origin_rank_end,
        event_id_end,
        source_end,
        consent_date_end,
        registrable_end,
        latest_ret_at_end,
        effective_at_millis,
        consent_date_millis,
        latest_onay_at_millis,
        latest_ret_at_millis,
        at,
    )
