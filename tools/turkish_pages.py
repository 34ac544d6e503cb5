"""``python -m tools.turkish_pages``: note that the Turkish pages say what the English ones say now.

A Turkish page begins with the digest of the English page that it was last compared with. Whoever
changes an English page changes the Turkish one too, and runs this.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TURKISH = ROOT / "docs" / "tr"
_MARK = re.compile(r"\A<!-- of \.\./(?P<page>[\w.-]+) (?P<digest>[0-9a-f]{16}) -->\n")


def behind() -> Iterator[str]:
    """Yield the Turkish pages whose English page has changed since, or is not named."""
    for path in sorted(_TURKISH.glob("*.md")):
        found = _MARK.match(path.read_text("utf-8"))
        if found is None or found["digest"] != _digest(path.name):
            yield path.name


def _digest(name: str) -> str:
    return hashlib.sha256((ROOT / "docs" / name).read_bytes()).hexdigest()[:16]


def main() -> None:
    """Write the digests."""
    for path in sorted(_TURKISH.glob("*.md")):
        text = _MARK.sub("", path.read_text("utf-8"))
        path.write_text(f"<!-- of ../{path.name} {_digest(path.name)} -->\n{text}", "utf-8")


if __name__ == "__main__":
    main()
