"""``python -m tools.pins versions``: the pins without their hashes, for pip where it resolves a
checkout or a wheel of izin, which cannot have one.

``python -m tools.pins jars``: record the digests of all jars and archives that are downloaded from
Maven Central: the last step of ``make pins``. A file whose digest is recorded already must still
have it, for a release never changes.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

from benchmarks.order.contenders import flink, java_program, kafka_streams
from izin.local.java import FileSet, download, sha256_of
from izin.local.servers import FILE_SETS

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
"""Also where a link leads to this file."""
JAR_SETS = (*FILE_SETS, java_program.COMPILER, flink.PROGRAM.jars, kafka_streams.PROGRAM.jars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One version of a package, and the SHA-256 of each of its files."""

    requirement: Requirement
    hashes: tuple[str, ...]


def pins(text: str) -> list[Pin]:
    """Return the pins of a file that ``make pins`` wrote. Raises InvalidRequirement."""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    found = (line.split("--hash=sha256:") for line in lines if line and not line.startswith("#"))
    return [
        Pin(requirement=Requirement(words[0]), hashes=tuple(word.strip() for word in words[1:]))
        for words in found
    ]


def versions() -> str:
    """Return the pins without their hashes, a line each."""
    found = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    return "".join(f"{pin.requirement}\n" for pin in found)


def record(sets: Iterable[FileSet]) -> None:
    """Download all files and write their digests.

    Raises SystemExit, before anything is written, where a recorded file has another digest now.
    """
    found: dict[Path, dict[str, str]] = defaultdict(dict)
    with TemporaryDirectory() as folder:
        for files in sets:
            for path in download(files, Path(folder) / files.name, on_progress=_say):
                found[files.digests][path.relative_to(folder).as_posix()] = sha256_of(path)
    for file, digests in found.items():
        lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
        for digest, name in (line.split("  ", 1) for line in lines):
            if digests.get(name, digest) != digest:
                raise SystemExit(
                    f"{name}: its SHA-256 is {digests[name]} and was {digest}. A release never "
                    f"changes: find out who changed it before you take its line out of {file.name}."
                )
    for file, digests in found.items():
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        file.write_text("".join(lines), encoding="ascii")


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["versions"]:
            sys.stdout.write(versions())
        case ["jars"]:
            record(JAR_SETS)
        case _:
            raise SystemExit("usage: python -m tools.pins versions|jars")
