"""``python -m izin.evidence``: verify an archive where nothing but izin's libraries is installed.

Exit codes: 0 proven, 1 something is wrong or no anchors were given, 2 wrong usage, 3 a file cannot
be read, 6 report and summary were not recomputed: the archive is of another format.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from izin.consent import SourceError, visible
from izin.evidence.chain import anchors_of
from izin.evidence.container import read
from izin.evidence.daily_files import check_with
from izin.evidence.verification import verify

_SOURCE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the archive that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m izin.evidence",
        description="Verify an archive of evidence without the ledger it is from.",
    )
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="the archive (ZIP)")
    parser.add_argument(
        *("--anchors", "-a"),
        type=Path,
        action="append",
        default=[],
        help="a file of anchors that were published; repeat it for each",
    )
    parser.add_argument(
        "--roots",
        type=Path,
        help="the roots (PEM) that are trusted for time stamps; needs rfc3161-client",
    )
    given = parser.parse_args(arguments)
    try:
        anchors, check = anchors_of(given.anchors), check_with(given.roots)
        found = verify(read(given.archive), anchors, check)
    except (OSError, SourceError) as error:
        sys.stderr.write(visible(f"error: {error}\n"))
        return _SOURCE
    sys.stdout.write(visible("".join(f"{line}\n" for line in found.lines())))
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
