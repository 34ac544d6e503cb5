"""Archives that are made to stop whoever verifies them: too large, too deep, too many, or lying."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from izin.evidence.container import LIST, dumped
from izin.evidence.verification import (
    CHAIN,
    COMMITMENTS,
    DAILY,
    DELIVERIES,
    HEADER,
    REPORT,
    ROWS,
    SUMMARY,
)

_MIB = 1 << 20
_NEARLY = 60 * _MIB
"""Just below what an archive may have."""
_KEY = "100001/MESAJ/BIREYSEL/+905550000001"
_HEADER: Mapping[str, Any] = {
    "format": 2,
    "recipient": "+905550000001",
    "brand": {"code": 100001, "iys_code": 100001, "name": "Acme"},
    "customer": {"id": "acme", "name": "Acme"},
    "keys": [_KEY],
    "at": "2026-03-02T09:30:00+00:00",
    "made_at": "2026-03-02T09:30:00+00:00",
    "made_by": "ada@example.com",
    "reason": "complaint 1",
}
_SEGMENT = {"shard": 3, "first": 1, "before": "00" * 32, "place": 1, "link": "00" * 32}
_SEGMENT |= {"anchored_at": "2026-03-02T10:00:00+00:00"}
_END = struct.Struct("<4sHHHHIIH")
_ENTRY = 24
"""Where an entry of a ZIP's list has the size of its file."""


def sealed(content: bytes) -> bytes:
    """Return a ZIP with a comment of 64 digits, which become the digest of what is before."""
    before = content[:-64]
    return before + hashlib.sha256(before).hexdigest().encode()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive of ``files``, with the list of their digests."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in {LIST: dumped(listed), **files}.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    return sealed(buffer.getvalue())


def with_files(**changes: bytes) -> bytes:
    """Return an archive that is whole but for some files."""
    return zipped(_whole() | {_NAMES[name]: content for name, content in changes.items()})


_NAMES = {
    "header": HEADER,
    "rows": ROWS,
    "deliveries": DELIVERIES,
    "chain": CHAIN,
    "commitments": COMMITMENTS,
    "daily": DAILY,
    "report": REPORT,
    "summary": SUMMARY,
}


def _whole() -> dict[str, bytes]:
    return {
        HEADER: dumped(_HEADER),
        ROWS: b"[]",
        DELIVERIES: b'{"rows":[],"batches":{}}',
        CHAIN: b"[]",
        COMMITMENTS: b"",
        REPORT: b"{}",
        SUMMARY: b"",
    }


def a_text(place: int, data: str = "{}", key: str = _KEY, kind: str = "act") -> str:
    """Return the text of a row."""
    instants = "1772442000000000, 1772442001000000"
    return f'[{place}, "{kind}", "acme", "{key}", null, "ONAY", "s", {instants}, {data}]'


def some_rows(count: int, data: str = "{}", *, kind: str = "act", escaped: bool = False) -> bytes:
    """Return so many rows; their commas as escapes, which no count of commas sees."""
    before, after = '{"decision":null,"salt":"' + "00" * 16 + '","shard":3,"text":', "}"
    rows = []
    for place in range(1, count + 1):
        text = json.dumps(a_text(place, data, kind=kind), ensure_ascii=False)
        rows.append(before + (text.replace(",", "\\u002c") if escaped else text) + after)
    return ("[" + ",".join(rows) + "]").encode()


def sized(archive: bytes, size: int) -> bytes:
    """Return an archive that says of each of its files that it has ``size`` bytes."""
    found = bytearray(archive)
    at = 0
    while (at := found.find(b"PK\x01\x02", at)) >= 0:
        found[at + _ENTRY : at + _ENTRY + 4] = struct.pack("<I", size)
        at += 4
    return sealed(bytes(found))


def many_entries(claimed: int) -> bytes:
    """Return an archive with a list of a million files, whose end claims other many."""
    listed = (b"PK\x01\x02" + b"\0" * 42) * 1_000_000
    end = b"PK\x05\x06", 0, 0, claimed, claimed, len(listed), 0, 64
    return sealed(listed + _END.pack(*end) + b"0" * 64)


def overlapping() -> bytes:
    """Return an archive whose entries are all of one file of 40 MiB."""
    found = zipped(dict.fromkeys(("a" * 11, "b" * 11), b"0" * 40 * _MIB))
    first = found.find(b"PK\x01\x02")
    starts = found[first + 42 : first + 46]
    altered = bytearray(found)
    at = first
    while (at := altered.find(b"PK\x01\x02", at)) >= 0:
        altered[at + 42 : at + 46] = starts
        at += 4
    return sealed(bytes(altered))


def _chain(count: int, **changes: object) -> bytes:
    return json.dumps([{**_SEGMENT, **changes}] * count, separators=(",", ":")).encode()


def _acknowledgements(count: int) -> bytes:
    values = [4, 0, 1, "acme", "t", "t", 0, 9, "m", _KEY, 1, 200, 1772442000000000]
    text = json.dumps(json.dumps(values, separators=(",", ":")))
    one = '{"salt":"' + "00" * 16 + '","subscriber":"s","text":' + text + "}"
    return ('{"batches":{},"rows":[' + ",".join([one] * count) + "]}").encode()


def _batches(count: int) -> bytes:
    some = {str(number): ["00" * 32] for number in range(count)}
    return json.dumps({"rows": [], "batches": some}, separators=(",", ":")).encode()


def _day(lines: list[str], **changes: object) -> dict[str, object]:
    one: dict[str, object] = dict.fromkeys(
        ("fetched_at", "agreement", "own_hash", "only_at_iys", "only_here", "timestamped_at")
    )
    one |= {"day": "2026-03-02", "hash_value": "00" * 48, "total": 1, "erased": 0}
    one |= {"integrity": "ok", "timestamp_state": None, "timestamp_reply": None, "lines": lines}
    return one | changes


_LINE = "2026-03-02 13:00:00,x,+905550000001,BIREYSEL,MESAJ,RET,,IYS_WEB"
_ASKED = '{"retailer_code":null,"reason":"registered","basis":null,"asked_by":"x",'
_ASKED += '"message_class":"commercial","index":0,"may_send":true,"campaign":'
_SHOWN = '{"creation_date":"2026-03-02T10:00:00+00:00"}'


def _lines(days: int, lines: int) -> bytes:
    return json.dumps([_day([_LINE] * lines)] * days).encode()


_JSON = 8_300_000
"""Just below the bytes that a file of JSON may have."""
HOSTILE: dict[str, Callable[[], bytes]] = {
    "place 10^15": lambda: with_files(chain=_chain(1, place=10**15)),
    "place of 4,000 digits": lambda: with_files(chain=_chain(1, place=10**3999)),
    "segments of a chain": lambda: with_files(
        chain=_chain(34_000), commitments=b"\0" * 32 * 34_000, rows=some_rows(13_000)
    ),
    "commitments, 60 MiB": lambda: with_files(
        chain=_chain(1, place=_NEARLY // 32), commitments=b"\0" * _NEARLY
    ),
    "entry of 1 GiB": lambda: with_files(rows=b"\0" * (1 << 30)),
    "entry of 1 GiB that claims 1 KiB": lambda: sized(with_files(rows=b"\0" * (1 << 30)), 1024),
    "entry of 1 GiB, bzip2": lambda: sized(
        zipped(_whole() | {ROWS: b"\0" * (1 << 30)}, zipfile.ZIP_BZIP2), 1024
    ),
    "entry of 256 MiB, LZMA": lambda: sized(
        zipped(_whole() | {ROWS: b"\0" * (1 << 28)}, zipfile.ZIP_LZMA), 1024
    ),
    "sizes of 4 GiB": lambda: sized(with_files(), 2**32 - 1),
    "sizes of 3 bytes": lambda: sized(with_files(), 3),
    "sizes of 0 bytes": lambda: sized(with_files(), 0),
    "sizes of 60 MiB": lambda: sized(zipped({ROWS: b"[]"}), _NEARLY),
    "bomb in each file": lambda: zipped(dict.fromkeys(_whole(), b" " * (_NEARLY // 8))),
    "bomb in one file": lambda: with_files(summary=b"\0" * _NEARLY),
    "a million entries, 16 claimed": lambda: many_entries(16),
    "a million entries, 65,535 claimed": lambda: many_entries(65_535),
    "overlapping entries": overlapping,
    "100 MB of junk": lambda: b"\xab" * 100_000_000,
    "60 MB of junk": lambda: sealed(b"\xab" * 60_000_000),
    "deep JSON": lambda: with_files(rows=b"[" * 240_000),
    "deep JSON in a row": lambda: with_files(rows=some_rows(1, "[" * 120_000 + "]" * 120_000)),
    "deep JSON in rows": lambda: with_files(rows=some_rows(250, "[" * 900 + "]" * 900)),
    "deep JSON in a header": lambda: with_files(header=b'{"a":' * 200_000),
    "number of 8 MB": lambda: with_files(rows=b"[" + b"1" * _JSON + b"]"),
    "fraction of 8 MB": lambda: with_files(rows=b"[1." + b"1" * _JSON + b"]"),
    "fraction of 8 MB in a row": lambda: with_files(rows=some_rows(1, "1." + "1" * _JSON)),
    "exponents in a row": lambda: with_files(
        rows=some_rows(1, "[" + ",".join(["1e999999999"] * 240_000) + "]")
    ),
    "numbers of 4,000 digits": lambda: with_files(
        rows=some_rows(1, "[" + ",".join(["1" * 4000] * 3000) + ",1e16]")
    ),
    "numbers of 999 digits": lambda: with_files(
        rows=some_rows(1, "[" + ",".join(["1" * 999] * 8_000) + ",1e16]")
    ),
    "header of 8 MB, to be escaped": lambda: with_files(
        header=dumped({**_HEADER, "reason": "<" * _JSON})
    ),
    "rows of 2 MB, escaped to four bytes a letter": lambda: with_files(
        rows=some_rows(40, _ASKED + '"😀' + "x" * 50_000 + '"}', kind="receipt")
    ),
    "header of 2 MB, four bytes a letter": lambda: with_files(
        header=dumped({**_HEADER, "reason": "😀" + "<" * 2_000_000})
    ),
    "header of 4 MB, two bytes a letter": lambda: with_files(
        header=dumped({**_HEADER, "reason": "ş" + "<" * 4_000_000})
    ),
    "JSON of 60 MB": lambda: with_files(rows=b'["' + b"x" * _NEARLY + b'"]'),
    "text of 8 MB, four bytes a letter": lambda: with_files(
        rows=b'["' + b"x" * _JSON + "😀".encode() + b'"]'
    ),
    "row of 8 MB, four bytes a letter": lambda: with_files(
        rows=some_rows(1, '"😀' + "x" * _JSON + '"')
    ),
    "receipt of 8 MB, four bytes a letter": lambda: with_files(
        rows=some_rows(1, _ASKED + '"😀' + "x" * _JSON + '"}', kind="receipt")
    ),
    "rows of 50 kB, four bytes a letter": lambda: with_files(
        rows=some_rows(240, _ASKED + '"😀' + "x" * 50_000 + '"}', kind="receipt")
    ),
    "header of 8 MB, four bytes a letter": lambda: with_files(
        header=dumped({**_HEADER, "reason": "😀" + "<" * _JSON})
    ),
    "escapes": lambda: with_files(rows=b'["' + b"\\u0041" * 240_000 + b'"]'),
    "values in a row": lambda: with_files(
        rows=some_rows(1, "[" + ",".join(["{}"] * 120_000) + "]", escaped=True)
    ),
    "rows": lambda: with_files(rows=some_rows(14_000)),
    "rows, escaped": lambda: with_files(rows=some_rows(14_000, escaped=True)),
    "receipts": lambda: with_files(rows=some_rows(10_000, _ASKED + '"x"}', kind="receipt")),
    "keys": lambda: with_files(
        header=dumped({**_HEADER, "keys": [_KEY] * 50_000}), rows=some_rows(1000)
    ),
    "observations and lines": lambda: with_files(
        rows=some_rows(13_000, _SHOWN, kind="observation"), daily=_lines(1, 24_000)
    ),
    "observations and days": lambda: with_files(
        rows=some_rows(13_000, _SHOWN, kind="observation"), daily=_lines(8_000, 1)
    ),
    "lines": lambda: with_files(daily=_lines(1, 24_000)),
    "days": lambda: with_files(daily=_lines(8_000, 1)),
    "instants out of range": lambda: with_files(
        rows=some_rows(1).replace(b"1772442001000000", b"9" * 40)
    ),
    "acknowledgements": lambda: with_files(deliveries=_acknowledgements(11_000)),
    "batches": lambda: with_files(deliveries=_batches(95_000)),
    "time stamp of 8 MB": lambda: with_files(
        daily=json.dumps(
            [_day([], timestamp_reply="MIIF" * 2_000_000, timestamp_state="verified")]
        ).encode()
    ),
    "names in the list": lambda: zipped(
        {**_whole(), LIST: json.dumps({str(one): "" for one in range(240_000)}).encode()}
    ),
    "report of 60 MB": lambda: with_files(report=b"[" * _NEARLY),
}
"""By name, what makes each."""
