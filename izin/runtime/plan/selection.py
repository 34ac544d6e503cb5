"""What a plan concerns: a time, keys, brands or customers.

What is given narrows; what is not given leaves everything in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from izin.consent.errors import SourceError
from izin.consent.model import aware

_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""


class EmptySelectionError(SourceError):
    """A selection that nothing can match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is selected; a default one selects everything."""

    since: datetime | None = None
    """Appended then or later."""
    until: datetime | None = None
    """Appended before."""
    keys: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()
    """As keys spell them; whoever has one of the ``keys`` or is one of them is selected."""
    brands: frozenset[int] = frozenset()
    customers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, instant in (("since", self.since), ("until", self.until)):
            if instant is not None:
                aware(name, instant)
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise EmptySelectionError("--since must be before --until")

    @property
    def names_keys(self) -> bool:
        """Whether it can be decided by a key alone, without the events of the key."""
        return self.since is self.until is None and not self.customers

    def takes_key(self, key: str) -> bool:
        """Whether the canonical ``key`` and its brand are selected."""
        if self.brands and int(key.partition("/")[0]) not in self.brands:
            return False
        if not self.keys and not self.recipients:
            return True
        return key in self.keys or key.split("/", _SLASHES)[-1] in self.recipients

    def takes_record(self, key: bytes) -> bool:
        """Whether the ``key`` of a record is selected; one that is not canonical, for somebody else
        wrote it, only where everything is.
        """
        try:
            return self.takes_key(key.decode())
        except ValueError:
            return self == Selection()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, sorted; what is not given is left out."""
        values = {
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "keys": sorted(self.keys),
            "recipients": sorted(self.recipients),
            "brands": sorted(self.brands),
            "customers": sorted(self.customers),
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the selection that :meth:`as_json` gave."""
        since, until = values.get("since"), values.get("until")
        return cls(
            since=since and datetime.fromisoformat(since),
            until=until and datetime.fromisoformat(until),
            keys=frozenset(values.get("keys", ())),
            recipients=frozenset(values.get("recipients", ())),
            brands=frozenset(values.get("brands", ())),
            customers=frozenset(values.get("customers", ())),
        )
