"""The archive as a file: a ZIP whose list has the digest of each file, and whose comment has the
digest of every byte before it.

So whatever byte of it is altered, in a file, a name, a date or a checksum, is found by one digest,
and the list says which file it concerns.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from izin.evidence.errors import UnreadableEvidenceError

LIST = "manifest.json"
"""The file with the digest of each other one."""
_DIGITS = 64
_TOO_LARGE = 1 << 30
"""Bytes of one file that are certainly no evidence of one recipient."""
_BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError),
    *(KeyError, OverflowError, RuntimeError, ValueError, MemoryError),
)
"""What reading a ZIP with altered bytes ends with."""


def dumped(value: Any) -> bytes:  # noqa: ANN401  # any JSON
    """Return ``value`` as the JSON of a file: the same value gives the same bytes."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def loaded(name: str, content: bytes) -> Any:  # noqa: ANN401  # any JSON
    """Return the value of the JSON file ``name``.

    Raises:
        UnreadableEvidenceError: it is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvidenceError(f"{name} is no JSON; ask for the archive again") from error


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
    end = hashlib.sha256(archive[:-_DIGITS]).hexdigest().encode()
    if archive[-_DIGITS:] != end:
        faults.append("the file was altered since it was made: the digest at its end differs")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            if any(one.file_size > _TOO_LARGE for one in entries):
                raise UnreadableEvidenceError("a file in it is larger than any evidence")
            files = {one.filename: opened.read(one) for one in entries}
    except _BROKEN as error:
        raise UnreadableEvidenceError(
            f"the archive cannot be unpacked ({type(error).__name__}): it was altered or cut off; "
            "ask for it again"
        ) from error
    if len(files) != len(entries):
        faults.append("two files of it have one name")
    return files, [*faults, *_differing(files)]


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
