"""What shows that an output has something of another customer, or counts others too."""

import gzip
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

FOREIGN = re.compile(
    r"foreign|yabanc|(?<![\w.])9[05]00\d\d(?!\w)|\+90559\d{7}|0559 ?\d{3}|\*{3}(77|88)",
    re.IGNORECASE,
)
"""Ids, names, brand codes and recipients of the others, masked ones too."""
MANY = re.compile(r"(?<![\w.:,+/*%-])(9[5-9]|[1-9]\d\d|1[0-8]\d\d)(?![\w.:/-]|,\d| ?%)")
"""A count over all brands: each of the others' 98 has one of everything, and ours a handful."""
_GZIP = b"\x1f\x8b"


def traces(text: str, given: Iterable[str] = (), *, counts: bool = True) -> list[str]:
    """Return what ``text`` has of others, and the counts that have others in them, except for what
    was ``given`` on the command line.
    """
    for one in sorted(given, key=len, reverse=True):
        text = text.replace(one, "")
    found = [one.group() for one in FOREIGN.finditer(text)]
    return found + ([one.group() for one in MANY.finditer(text)] if counts else [])


def files_in(folder: Path) -> Mapping[Path, tuple[int, int]]:
    """Return every file in ``folder``, with what changes where it is written."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found}


def contents(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the content of files, and of what is packed in them, each with its name."""
    for path in sorted(paths):
        yield from _unpacked(str(path), path.read_bytes())


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as packed:
            for one in packed.namelist():
                yield from _unpacked(f"{name}/{one}", packed.read(one))
        return
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    yield name, content.decode("utf-8", "replace")
