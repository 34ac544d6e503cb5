"""The head of a hash chain of the history, kept outside the ledger, and time stamps of heads.

Who owns ledger and host can write any anchor, with any instant. A time stamp (RFC 3161) over some
heads is what an authority from outside says of them: they were there then.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from izin.ledger.record.errors import UnreadableAnchorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The head of a chain at an instant; ``id`` grows with every anchor of the ledger."""

    id: int
    shard: int
    place: int
    link: bytes
    anchored_at: datetime
    timestamped_at: datetime | None = None
    """When a trusted authority has time-stamped it; None: none is known to have."""

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
    def from_avro(cls, value: Mapping[str, Any]) -> Self:
        """Return the anchor of a record of the topic."""
        return cls(
            id=value["anchor_id"],
            shard=value["shard"],
            place=value["place"],
            link=bytes.fromhex(value["link"]),
            anchored_at=value["anchored_at"],
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTimestamp:
    """A time stamp over the heads of chains: a line of the anchor file."""

    heads: tuple[tuple[int, int, str], ...]
    """Shard, place and link (hexadecimal) of each."""
    reply: bytes
    """The authority's reply (RFC 3161, DER) over the SHA-512 of ``text_of_heads``."""

    @property
    def digest(self) -> str:
        """What is time-stamped: a SHA-512 in hex."""
        return hashlib.sha512(text_of_heads(self.heads)).hexdigest()

    def to_line(self) -> str:
        """Return the line of the anchor file."""
        timestamp = base64.b64encode(self.reply).decode()
        return json.dumps({"timestamp": timestamp, "heads": self.heads}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self | None:
        """Return the stamp of a line of the anchor file; None: the line is of something else."""
        try:
            fields = json.loads(line)
            heads = tuple((int(shard), int(at), str(link)) for shard, at, link in fields["heads"])
            return cls(heads=heads, reply=base64.b64decode(fields["timestamp"], validate=True))
        except (ValueError, KeyError, TypeError):
            return None


def text_of_heads(heads: Iterable[tuple[int, int, str]]) -> bytes:
    """Return the text of heads (shard, place, link in hex) of which a hash is time-stamped."""
    return json.dumps([list(head) for head in heads], separators=(",", ":")).encode()
