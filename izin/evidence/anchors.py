"""Anchors that a verifier brings: heads of the history's chains that were published before.

A line of the anchor file, and a record of the topic ``ledger-anchors`` as JSON, both name a shard,
a place and the link there. Time stamps in the file are left to ``izin ledger verify``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from izin.evidence.errors import UnreadableAnchorsError

Anchors = Mapping[tuple[int, int], str]
"""The link, in hexadecimal digits, by shard and place."""


def anchors_in(path: Path) -> dict[tuple[int, int], str]:
    """Return the anchors of a file, a JSON object in each line.

    A line that a crash cut off is skipped: the last one, or one that is repeated whole in the next.

    Raises:
        UnreadableAnchorsError: naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableAnchorsError(
            f"{path} cannot be read as text; name a file of anchors"
        ) from (error)
    found = {}
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
        if following.startswith(line) or number == len(lines):
            continue
        try:
            fields = json.loads(line)
            if "timestamp" in fields:
                continue
            place = int(fields["shard"]), int(fields["place"])
            found[place] = bytes.fromhex(fields["link"]).hex()
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableAnchorsError(
                f"{path}, line {number} is no anchor; export them again: izin evidence anchors"
            ) from error
    return found


def anchors_of(files: Sequence[Path]) -> Anchors | None:
    """Return the anchors of ``files``; None where there are no files.

    Raises:
        UnreadableAnchorsError: a line of one is no anchor.
    """
    if not files:
        return None
    return {place: link for one in files for place, link in anchors_in(one).items()}
