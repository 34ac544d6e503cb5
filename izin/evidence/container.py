"""The archive as a file: a ZIP whose list has the digest of each file, and whose comment has the
digest of every byte before it.

So whatever byte of it is altered, in a file, a name, a date or a checksum, is found by one digest,
and the list says which file it concerns. Whoever made an archive may mean harm: how many files it
has, how large they are and how many values their JSON has is looked at before they are read.

OurError                    (izin.consent.errors)
└── UnprovenHistoryError    the chain of a row does not lead to its anchor
SourceError                 (izin.consent.errors)
└── UnreadableEvidenceError a file is no archive of evidence, or one of its files is not
"""

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from izin.consent import OurError, SourceError

LIST = "manifest.json"
"""The file with the digest of each other one."""
_DIGITS = 64
MOST_BYTES = 64 << 20
"""Of an archive, and of its files together."""
_MOST_FILES = 16
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""How files are packed; other ways are unpacked without regard to the size that is claimed."""
_MOST_JSON = 8 << 20
"""Bytes of one file of JSON in memory, where it is kept several times."""
_WIDEST, _THREE_BYTES = 4, 0xEF
"""One letter of four bytes, or an escape, makes every letter of its text take four in memory."""
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{1000}")
"""Digits take their number squared to be read."""
_MOST_VALUES = 250_000
"""Of the JSON of one file: an empty list takes three bytes there and sixty in memory."""
_VALUES = (b",", b"[", b"{", b"\\u")
"""What each value has one of; a text may have the first ones as escapes, and be JSON itself."""
_END = struct.Struct("<4sHHHHIIH")
"""The record at the end of a ZIP: signature, disks, files (twice), size and start of their list,
size of the comment."""
_MOST_LISTED = 256
"""Bytes of one file's entry in that list."""
_BROADER = b"PK\x06\x07"
"""Begins what stands before it in a ZIP of more than 4 GiB, in which sizes are given again."""
_BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError),
    *(KeyError, OverflowError, RuntimeError, ValueError, MemoryError),
)
"""What reading a ZIP with altered bytes ends with."""


class UnprovenHistoryError(OurError):
    """A row of the history does not lead to its anchor; no archive was made."""

    def __init__(self, shard: int, place: int) -> None:
        super().__init__(
            f"the chain of shard {shard} is broken at or behind row {place}; no archive was made; "
            "run izin ledger verify, which names each row that was changed"
        )


class UnreadableEvidenceError(SourceError):
    """A file that is no archive of evidence, or a part of it that cannot be read."""


def dumped(value: Any) -> bytes:  # noqa: ANN401  # any JSON
    """Return ``value`` as the JSON of a file: the same value gives the same bytes."""
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def loaded(name: str, content: bytes) -> Any:  # noqa: ANN401  # any JSON
    """Return the value of the JSON file ``name``.

    Raises:
        UnreadableEvidenceError: it is no JSON, or has more values than any evidence.
    """
    refuse_large(name, content)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvidenceError(f"{name} is no JSON; ask for the archive again") from error


def refuse_large(name: str, content: bytes) -> None:
    """Raise UnreadableEvidenceError where the JSON of a file is more than a verifier reads."""
    size = len(content)
    if size <= _MOST_JSON and (b"\\u" in content or max(content, default=0) > _THREE_BYTES):
        size *= _WIDEST
    elif not content.isascii():
        size *= 2
    is_large = size > _MOST_JSON or sum(map(content.count, _VALUES)) > _MOST_VALUES
    if is_large or _LONG_NUMBER.search(content):
        raise UnreadableEvidenceError(f"{name} has more than an archive of evidence may have")


def read(path: Path) -> bytes:
    """Return the bytes of an archive.

    Raises:
        OSError: it cannot be read.
        UnreadableEvidenceError: it is larger than any evidence.
    """
    if path.stat().st_size > MOST_BYTES:
        raise UnreadableEvidenceError(f"{path} is larger than any archive of evidence")
    return path.read_bytes()


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of ``files`` (by name), with the list of their digests."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, LIST: dumped(listed)}.items():
            # No clock: the same evidence gives the same bytes.
            entry = zipfile.ZipInfo(name)
            # Hashes are not made smaller.
            is_binary = name.endswith(".bin")
            entry.compress_type = zipfile.ZIP_STORED if is_binary else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, content)
        archive.comment = b"0" * _DIGITS
    before = buffer.getvalue()[:-_DIGITS]
    return before + hashlib.sha256(before).hexdigest().encode()


def unpacked(archive: bytes) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of ``archive``, and what is wrong with their digests.

    Raises:
        UnreadableEvidenceError: it is no archive of evidence, or too damaged to be read.
    """
    faults = []
    if archive[-_DIGITS:] != hashlib.sha256(archive[:-_DIGITS]).hexdigest().encode():
        faults.append("the file was altered since it was made: the digest at its end differs")
    _look_at_the_end(archive)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            if any(entry.compress_type not in _METHODS for entry in entries):
                raise UnreadableEvidenceError("a file of it is packed otherwise than any evidence")
            if sum(one.file_size for one in entries) > MOST_BYTES:
                raise UnreadableEvidenceError("its files are larger than any evidence")
            # As much as is claimed: else all is unpacked, and cut off then.
            files = {one.filename: opened.open(one).read(one.file_size) for one in entries}
    except _BROKEN as error:
        raise UnreadableEvidenceError(
            f"the archive cannot be unpacked ({type(error).__name__}): it was altered or cut off; "
            "ask for it again"
        ) from error
    if len(files) != len(entries):
        faults.append("two files of it have one name")
    return files, [*faults, *_differing(files)]


def _look_at_the_end(archive: bytes) -> None:
    """Refuse what does not end as an archive does, with few files: the list of a ZIP's files is
    read whole, whatever number of them it names.
    """
    at = len(archive) - _END.size - _DIGITS
    if at >= 0:
        signature, _, _, files, every, size, start, comment = _END.unpack_from(archive, at)
        is_end = signature == b"PK\x05\x06" and comment == _DIGITS and start + size == at
        is_small = files == every <= _MOST_FILES and size <= files * _MOST_LISTED
        if is_end and is_small and _BROADER not in archive[max(0, at - 20) : at]:
            return
    raise UnreadableEvidenceError(
        "the archive does not end as one does: it was altered or cut off; ask for it again"
    )


def _differing(files: Mapping[str, bytes]) -> list[str]:
    """Return which files are not as the list has them."""
    listed = loaded(LIST, files[LIST]) if LIST in files else {}
    if not isinstance(listed, dict):
        raise UnreadableEvidenceError(f"{LIST} is no list of files; ask for the archive again")
    found = {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != LIST
    }
    return [
        f"{name} is not the file that {LIST} has"
        for name in sorted(found.keys() | listed.keys())
        if found.get(name) != listed.get(name)
    ]
