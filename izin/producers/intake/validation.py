"""The records of a request validated, each with the instant from which it counts.

A record that is identified (by a reference, or by ``ref`` and a date) and counts from its receipt
keeps the instant of its first receipt at any endpoint: see
:mod:`izin.producers.intake.first_receipts`. Those are records without a date, and records whose
date lies ahead of the broker's clock, as far as this endpoint can tell. A date of the last day may
have been ahead at the first receipt, so it is looked up.

Where the first receipt cannot be determined, an opt-in (ONAY) is postponed: the sender has to
retry. An opt-out (RET) is neither refused nor kept waiting: after a short wait it counts from this
receipt. That is exact for a first attempt; a retry of it counts later than the first, and so closes
an opt-in that was given in between, which harms nobody's right.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from izin.consent import FIRST_DATE, SKEW, Status, Violation, last_second, maker
from izin.kafka.tables.api_keys import Outside, outside
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.first_receipts import HALF, Lookup, lookup_of
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field, violation
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    InputRecord,
    MappedRecord,
    RefusedRecord,
    read,
    validate,
)
from izin.producers.publishing.event_ids import message_event_id
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.uuids import CHANCE_BYTES, uuid7

TOLERATED = timedelta(seconds=1)
"""The skew beyond which there is a warning."""

_OBSERVATIONS = 16
_NONE = timedelta(0)

_log = get_logger(__name__)
ORIGIN = "web"
_OUTSIDE = {Outside.BRAND: "IZIN-KEY-BRAND", Outside.CHANNEL: "IZIN-KEY-CHANNEL"}
Asked = Future[datetime] | Future[datetime | None] | Future[bool]
"""For a first receipt, or whether an Idempotency-Key came with another body before."""
Answer = datetime | bool | BrokerError | None
_RULES = DateRules()
_REQUEST = -1
"""In place of the index of a record."""
_WAIT = 2.0
"""Seconds in which a first receipt must be known: a round trip takes milliseconds."""


class _Bounds(NamedTuple):
    least: timedelta
    most: timedelta


class ClockSkew:
    """How far the clock of this endpoint differs from the broker's; positive where it is ahead.

    The broker appended an event between the instants at which the endpoint sent it and got the
    acknowledgement. So each of the latest events bounds the skew from both sides, by its round
    trip.
    """

    def __init__(self) -> None:
        self._observed: deque[_Bounds] = deque(maxlen=_OBSERVATIONS)
        self._least, self._most = timedelta.min, timedelta.max
        """The narrowest bounds of those observed."""
        self._is_beyond = False

    def observe(
        self, *, sent_at: datetime, acknowledged_at: datetime, appended_at: datetime
    ) -> None:
        """Take the instants of one event; warn where the skew leaves what is tolerated."""
        is_full = len(self._observed) == _OBSERVATIONS
        dropped = self._observed[0] if is_full else None
        latest = _Bounds(sent_at - appended_at, acknowledged_at - appended_at)
        self._observed.append(latest)
        if dropped is None or (dropped.least < self._least and dropped.most > self._most):
            self._least = max(self._least, latest.least)
            self._most = min(self._most, latest.most)
        else:
            self._least = max(one.least for one in self._observed)
            self._most = min(one.most for one in self._observed)
        is_beyond = abs(self.proven) > TOLERATED
        if is_beyond and not self._is_beyond:
            _log.warning(
                "clock skew beyond the bound",
                seconds=self.proven.total_seconds(),
                bound=TOLERATED.total_seconds(),
            )
        self._is_beyond = is_beyond

    @property
    def proven(self) -> timedelta:
        """The skew as far as it is certain: 0 where round trips alone explain the difference."""
        if not self._observed:
            return _NONE
        return max(self._least, _NONE) if self._most >= _NONE else self._most

    @property
    def most(self) -> timedelta:
        """How far the clock may be ahead; before the first observation, as far as the law allows
        clocks to differ.
        """
        return max(self._most, _NONE) if self._observed else SKEW


@dataclass(frozen=True, slots=True, kw_only=True)
class PostponedRecord:
    """An opt-in whose first receipt cannot be determined now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForbiddenRecord:
    """A record, valid by itself, whose brand or channel is outside the API key."""

    violations: tuple[Violation]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBodyRecord:
    """A record of a request whose Idempotency-Key came with another body before."""


ValidatedRecord = (
    OtherBodyRecord | AcceptedRecord | RefusedRecord | ForbiddenRecord | PostponedRecord
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A record as it would be if this were its first receipt."""

    record: MappedRecord
    origin: EventOrigin
    is_identified: bool
    key: ApiKey
    result: AcceptedRecord | RefusedRecord | ForbiddenRecord


_drafted = maker(_Draft)


class RecordValidator:
    """Validates the records of requests at this endpoint."""

    def __init__(
        self,
        directory: BrandDirectory,
        receipts: ReceiptLog,
        skew: ClockSkew,
        *,
        clock: Callable[[], datetime],
        chance: Callable[[int], bytes],
    ) -> None:
        self._directory = directory
        self._receipts = receipts
        self._skew = skew
        self._clock = clock
        self._chance = chance

    async def validate(
        self,
        records: Sequence[InputRecord],
        idempotency_key: str | None,
        key: ApiKey,
        origin: str = ORIGIN,
    ) -> Sequence[ValidatedRecord]:
        """Return what becomes of each record of ``origin`` that was sent with ``key``."""
        now = self._clock()
        drafts = [self._draft(record, idempotency_key, key, origin, now) for record in records]
        if Scope.PUBLISH not in key.scopes:  # a key for tests: nothing is claimed
            return [draft.result for draft in drafts]
        asked = self._first_receipts(drafts, now)
        # Opt-outs alone are taken whatever the key: they need not wait for this.
        if idempotency_key and any(map(_is_opt_in, drafts)):
            own_id = _request_id(key.name, idempotency_key, records)
            asked[_REQUEST] = self._receipts.bind(own_id, now, by=key.name)
        answers = await _results(asked)
        is_other = answers.get(_REQUEST) is False
        return [
            OtherBodyRecord()
            if is_other and draft.record.status != Status.RET
            else self._settled(draft, answers[index])
            if index in answers
            else draft.result
            for index, draft in enumerate(drafts)
        ]

    def check(
        self, record: InputRecord, key: ApiKey, origin: str
    ) -> AcceptedRecord | RefusedRecord | ForbiddenRecord:
        """Return what would become of ``record`` if it were sent now; nothing is claimed for it."""
        return self._draft(record, None, key, origin, self._clock()).result

    def _draft(
        self,
        given: InputRecord,
        idempotency_key: str | None,
        key: ApiKey,
        source: str,
        now: datetime,
    ) -> _Draft:
        record = read(given.values, _RULES).with_violations(given.violations)
        record, evidence = _by_key(record, given.evidence)
        reference = given.reference or idempotency_key
        if reference is None and record.consent_date is not None:
            # Without a date, a customer number would make the next change the same event.
            reference = record.texts.get(Field.ORIGIN_REF)
        if reference is None:
            event_id = uuid7(now, self._chance(CHANCE_BYTES))
        else:
            event_id = message_event_id(source, reference, "\x1f".join(record.identity))
        origin = EventOrigin(
            event_id=event_id,
            origin=source,
            received_at=now,
            evidence=evidence,
            is_live=given.is_live,
            actor=key.name,
        )
        return _drafted(
            record=record,
            origin=origin,
            is_identified=reference is not None,
            key=key,
            result=self._validated(record, origin, key),
        )

    def _validated(
        self, record: MappedRecord, origin: EventOrigin, key: ApiKey
    ) -> AcceptedRecord | RefusedRecord | ForbiddenRecord:
        """Return what becomes of ``record``; what is accepted is within ``key``."""
        result = validate(record, self._directory, origin)
        if isinstance(result, RefusedRecord):
            return result
        found = outside(
            key,
            customer_id=result.event.customer_id,
            brand_code=result.key.brand_code,
            channel=result.key.channel,
        )
        if found is None:
            return result
        return ForbiddenRecord(violations=(violation(found, _OUTSIDE[found]),))

    def _first_receipts(self, drafts: Sequence[_Draft], now: datetime) -> dict[int, Asked]:
        """Ask for the first receipt of each draft where it may decide the instant, by index."""
        asked: dict[int, Asked] = {}
        recalled: dict[int, str] = {}
        for index, draft in enumerate(drafts):
            # What is refused was not received: corrected or repeated, it is a first receipt.
            if not draft.is_identified or not isinstance(draft.result, AcceptedRecord):
                continue
            event_id = draft.origin.event_id
            match lookup_of(_latest_date(draft.record, now), now=now, skew=self._skew.most):
                case Lookup.CLAIM:
                    asked[index] = self._receipts.claim(event_id, now, by=draft.key.name)
                case Lookup.RECALL:
                    recalled[index] = event_id
                case Lookup.NONE:
                    pass
        if recalled:
            found = self._receipts.recall(set(recalled.values()))
            asked |= {index: found[event_id] for index, event_id in recalled.items()}
        return asked

    def _settled(self, draft: _Draft, answer: Answer) -> ValidatedRecord:
        match answer:
            case datetime():
                origin = draft.origin._replace(received_at=answer)
                return self._validated(draft.record, origin, draft.key)
            case BrokerError() if draft.record.status != Status.RET:
                return PostponedRecord()
            case _:
                return draft.result


def _latest_date(record: MappedRecord, now: datetime) -> datetime | None:
    """Return the last instant that the date of ``record`` may mean; None: it means none up to
    ``now``, or says none, and its receipt counts.
    """
    date = record.consent_date
    if date is None or not FIRST_DATE <= date <= now:
        return None
    return last_second(date, record.date_basis)


def _by_key(
    record: MappedRecord, evidence: Mapping[str, str]
) -> tuple[MappedRecord, Mapping[str, str]]:
    """Return ``record``, whose actor is the key it was sent with, and ``evidence`` with whom the
    sender names.

    What a sender says of who acted is anybody's word.
    """
    named, own = record.texts.get(Field.ACTOR), str(Field.ACTOR)
    if named is None:
        return record, evidence
    if evidence.get(own, named) != named:
        return record.with_violations((violation(own, "IZIN-TWICE", name=own),)), evidence
    return record, {**evidence, own: named}


def _is_opt_in(draft: _Draft) -> bool:
    return isinstance(draft.result, AcceptedRecord) and draft.record.status != Status.RET


def _request_id(name: str, idempotency_key: str, records: Sequence[InputRecord]) -> str:
    """Return the id of a request: half of it is of its key, the other of what its body says."""
    said = [
        (
            sorted(record.values.items()),
            record.reference,
            sorted(record.evidence.items()),
            record.is_live,
        )
        for record in records
    ]
    halves = (hashlib.sha256(json.dumps(one).encode()) for one in ((name, idempotency_key), said))
    return str(UUID(bytes=b"".join(half.digest()[:HALF] for half in halves)))


async def _results(asked: Mapping[int, Asked]) -> Mapping[int, Answer]:
    """Return what the futures have after a short wait, or why they have nothing."""
    if not asked:
        return {}
    waiting = {index: asyncio.wrap_future(one) for index, one in asked.items()}
    await asyncio.wait(waiting.values(), timeout=_WAIT)
    found: dict[int, Answer] = {}
    for index, one in waiting.items():
        if not one.done():
            one.cancel()
            found[index] = BrokerError("the first receipt was not read in time")
        elif isinstance(error := one.exception(), BrokerError):
            found[index] = error
        else:
            found[index] = one.result()
    reasons = {str(one) for one in found.values() if isinstance(one, BrokerError)}
    if reasons:
        _log.warning("first receipts unknown", reasons=sorted(reasons)[:3])
    return found
