"""The head of a hash chain of the history, kept outside the ledger."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from izin.sinks.record.errors import UnreadableAnchorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The head of a chain at an instant; ``id`` grows with every anchor of the ledger."""

    id: int
    shard: int
    place: int
    link: bytes
    anchored_at: datetime

    def to_line(self) -> str:
        """Return the line of the anchor file."""
        fields = {
            "id": self.id,
            "shard": self.shard,
            "place": self.place,
            "link": self.link.hex(),
            "anchored_at": self.anchored_at.isoformat(),
        }
        return json.dumps(fields) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return the anchor of a line of the anchor file.

        Raises:
            UnreadableAnchorError: the line is not an anchor.
        """
        try:
            fields = json.loads(line)
            return cls(
                id=int(fields["id"]),
                shard=int(fields["shard"]),
                place=int(fields["place"]),
                link=bytes.fromhex(fields["link"]),
                anchored_at=datetime.fromisoformat(fields["anchored_at"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableAnchorError(f"not an anchor ({type(error).__name__})") from error
