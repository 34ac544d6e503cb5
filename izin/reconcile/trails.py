"""The trail of a key in the history: which paths showed a movement of İYS, and which did not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from izin.consent.enums import TextEnum
from izin.consent.fold import is_of_citizens
from izin.consent.model import ConsentEvent
from izin.reconcile.judging import IysRecord
from izin.schemas.records import event_from_avro
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec

_HIDDEN = timedelta(hours=1)
"""How recent movements are that a pull does not show."""
_SQL = statements("reconcile")


class IysPath(TextEnum):
    """By which a movement at İYS comes here."""

    PUSH = "push"
    PULL = "pull"
    DAILY = "daily"
    """İYS's file of a day."""
    SWEEP = "sweep"
    """A status query: of many keys, or of one."""


_PATHS: Mapping[str, IysPath] = MappingProxyType(
    {
        "push": IysPath.PUSH,
        "pull": IysPath.PULL,
        "daily": IysPath.DAILY,
        "status": IysPath.SWEEP,
        "statuses": IysPath.SWEEP,
    }
)


class Sighting(NamedTuple):
    """A movement at İYS, as one path has shown it."""

    path: IysPath
    value: str
    creation_date: datetime | None
    recorded_at: datetime


class DecidedEvent(NamedTuple):
    """An event on which the law has decided, and from when it counts."""

    event: ConsentEvent
    effective_at: datetime


@dataclass(slots=True)
class Trail:
    """What the history has of a key."""

    sightings: list[Sighting] = field(default_factory=list)
    events: list[DecidedEvent] = field(default_factory=list)
    is_known: bool = False
    """Whether anything was ever decided or restored."""

    def event(self, event_id: str | None, effective_at: datetime | None) -> ConsentEvent | None:
        """Return the event with this id that counts from this instant; None: it is not there."""
        for one in self.events:
            if (one.event.event_id, one.effective_at) == (event_id, effective_at):
                return one.event
        return None

    def was_queried_after(self, instant: datetime) -> bool:
        """Whether the status was queried at İYS since."""
        return any(
            one.path is IysPath.SWEEP and one.recorded_at >= instant for one in self.sightings
        )

    def saw(self, record: IysRecord) -> tuple[IysPath, ...]:
        """Return the paths that have shown what ``record`` says, in their usual order."""
        found = {
            one.path
            for one in self.sightings
            if one.value == record.value and _is_of(one, record.creation_date)
        }
        return tuple(path for path in IysPath if path in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Up to when each path has shown the movements of a brand."""

    push: bool
    """Whether İYS pushes them."""
    pulled_at: datetime | None
    """When both streams were last pulled to their end."""
    filed_until: datetime | None
    """The latest movement that a daily file has brought."""

    @property
    def pulled_until(self) -> datetime | None:
        """Up to when both streams have shown what İYS has; None: they were never pulled."""
        return None if self.pulled_at is None else self.pulled_at - _HIDDEN

    def missed(self, record: IysRecord, trail: Trail) -> tuple[IysPath, ...]:
        """Return the paths that should have shown what ``record`` says of a key, and did not."""
        created = record.creation_date
        if created is None or not record.is_detailed:
            return ()
        saw, until = trail.saw(record), self.pulled_until
        shown: Mapping[IysPath, bool] = {
            # İYS pushes what citizens do, never what a provider writes.
            IysPath.PUSH: self.push and is_of_citizens(record.source),
            IysPath.PULL: until is not None and until >= created,
            IysPath.DAILY: self.filed_until is not None and self.filed_until > created,
            IysPath.SWEEP: trail.was_queried_after(created),
        }
        return tuple(path for path in IysPath if shown[path] and path not in saw)


async def trails_of(ledger: Ledger, keys: Sequence[str]) -> Mapping[str, Trail]:
    """Return the trail of each of ``keys``."""
    found = {key: Trail() for key in keys}
    for row in await ledger.fetch(_SQL["trails"], {"keys": list(keys)}):
        _add(found[row["key"]], row)
    return found


def _add(trail: Trail, row: Mapping[str, Any]) -> None:
    match row["kind"]:
        case "observation":
            data = row["data"]
            path = _PATHS.get(data["by"])
            if path is not None:
                created = data["creation_date"]
                at = None if created is None else datetime.fromisoformat(created)
                value = data.get("registered") or row["status"]
                trail.sightings.append(Sighting(path, value, at, row["recorded_at"]))
        case "bootstrap":
            trail.is_known = True
        case _:
            trail.is_known = True
            decision = history_codec().decode("Decision", row["decision"])
            event = event_from_avro(decision["event"])
            trail.events.append(DecidedEvent(event, decision["effective_at"]))
            if event.iys is not None and event.iys.path in _PATHS:
                path, at = _PATHS[event.iys.path], event.iys.creation_date
                trail.sightings.append(Sighting(path, event.status, at, row["recorded_at"]))


def _is_of(one: Sighting, created: datetime | None) -> bool:
    """Whether a sighting is of a record of this creation date; a status query has no date of
    İYS's, so it counts where it came later.
    """
    if created is None:
        return False
    if one.path is IysPath.SWEEP:
        return one.recorded_at >= created
    return one.creation_date == created


def words_of(paths: Iterable[IysPath]) -> str:
    """Return ``paths`` as words; "none" where there is none."""
    return ", ".join(paths) or "none"
