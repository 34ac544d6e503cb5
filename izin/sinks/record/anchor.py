"""Where a hash chain of the history stood, written outside the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from izin.sinks.record.errors import UnreadableAnchorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where a chain stood; ``id`` grows with every anchor of the ledger."""

    id: int
    shard: int
    place: int
    link: bytes
    anchored_at: datetime

    def to_line(self) -> str:
        """Return the line that says it in a file."""
        said = {
            "id": self.id,
            "shard": self.shard,
            "place": self.place,
            "link": self.link.hex(),
            "anchored_at": self.anchored_at.isoformat(),
        }
        return json.dumps(said) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Anchor:
        """Return the anchor that a line of a file says; raises UnreadableAnchorError."""
        try:
            said = json.loads(line)
            return cls(
                id=int(said["id"]),
                shard=int(said["shard"]),
                place=int(said["place"]),
                link=bytes.fromhex(said["link"]),
                anchored_at=datetime.fromisoformat(said["anchored_at"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableAnchorError(f"no anchor ({type(error).__name__})") from error
