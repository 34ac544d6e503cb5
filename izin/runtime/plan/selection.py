"""What a plan concerns: a time, keys, brands, customers, origins or offsets.

What is given narrows; what is not given leaves everything in. A fact that does not have what is
asked for (a key that cannot be read, a record without origin) is not selected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from izin.consent.errors import SourceError
from izin.consent.model import aware

_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""

Place = tuple[str, int]
"""A topic and a partition of it."""


class EmptySelectionError(SourceError):
    """A selection that nothing can match."""


class Facts(NamedTuple):
    """What a selection looks at: of an event, where it was read and whose it is."""

    key: str
    """Canonical."""
    brand_code: int
    customer_id: str
    origin: str
    appended_at: datetime
    topic: str
    partition: int
    offset: int


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
    origins: frozenset[str] = frozenset()
    offsets: Mapping[Place, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    """By place: the first offset, and the one behind the last."""

    def __post_init__(self) -> None:
        for name, instant in (("since", self.since), ("until", self.until)):
            if instant is not None:
                aware(name, instant)
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise EmptySelectionError("--since must be before --until")
        for (topic, partition), (first, behind) in self.offsets.items():
            if not 0 <= first < behind:
                raise EmptySelectionError(
                    f"{topic}/{partition}: no offset from {first} to {behind}"
                )

    @property
    def names_keys(self) -> bool:
        """Whether it can be decided by a key alone, without the events of the key."""
        return self.since is self.until is None and not (
            self.customers or self.origins or self.offsets
        )

    def takes_key(self, key: str) -> bool:
        """Whether the canonical ``key`` and its brand are selected."""
        return self._names(key) and (not self.brands or int(key.partition("/")[0]) in self.brands)

    def takes(self, facts: Facts) -> bool:
        """Whether an event is selected."""
        at = facts.appended_at
        return (
            (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and self._names(facts.key)
            and (not self.brands or facts.brand_code in self.brands)
            and (not self.customers or facts.customer_id in self.customers)
            and (not self.origins or facts.origin in self.origins)
            and (not self.offsets or self._has_offset(facts))
        )

    def _names(self, key: str) -> bool:
        if not self.keys and not self.recipients:
            return True
        return key in self.keys or key.split("/", _SLASHES)[-1] in self.recipients

    def _has_offset(self, facts: Facts) -> bool:
        first, behind = self.offsets.get((facts.topic, facts.partition), (0, 0))
        return first <= facts.offset < behind

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, sorted; what is not given is left out."""
        values = {
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "keys": sorted(self.keys),
            "recipients": sorted(self.recipients),
            "brands": sorted(self.brands),
            "customers": sorted(self.customers),
            "origins": sorted(self.origins),
            "offsets": {
                f"{topic}/{partition}": list(bounds)
                for (topic, partition), bounds in sorted(self.offsets.items())
            },
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
            origins=frozenset(values.get("origins", ())),
            offsets=MappingProxyType(
                {
                    _place(text): (bounds[0], bounds[1])
                    for text, bounds in values.get("offsets", {}).items()
                }
            ),
        )


def _place(text: str) -> Place:
    topic, _, partition = text.rpartition("/")
    return topic, int(partition)
