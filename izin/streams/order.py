"""From a batch of records to what must be written: judge, re-file, decide, record by record.

For every applied claim one ``consents`` row and one decision; for every change of the effective
status to RET one ``consent-opt-outs`` row. A stale or enriching claim is a decision too, and a row
where it moved the state. A duplicate is nothing. What is refused is a dead letter. Nothing here
does I/O or reads a clock, so a replay folds to the same bytes.

A key lives on the partition that murmur2 gives it. A record found elsewhere (a producer keyed it
its own way) is re-filed once, marked by a header; a marked one that is still wrong is a dead
letter.

A record that gives more than a Kafka record may hold would stop its partition for ever. A RET
among them leaves its evidence behind (the input topic has it) and takes effect; what is still too
large is poison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from izin.consent.errors import SourceError
from izin.consent.making import maker
from izin.consent.model import Claim, Consent, ConsentEvent, Decision, DecisionKind, Status
from izin.consent.ordering import decide
from izin.schemas.cloud_events import headers, retyped
from izin.schemas.decisions import DecisionWriter
from izin.schemas.partitioning import partition_of
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.streams.guard import (
    APPENDED_AT,
    KEPT_BYTES,
    DeadLetter,
    Guard,
    Judged,
    SourceRecord,
    dead_letter_to_avro,
    poison,
    refiled_twice,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from izin.schemas.cloud_events import Headers
    from izin.schemas.codec import Codec
    from izin.schemas.topics import Topics
    from izin.streams.state import State

REFILED = "izin-refiled"
"""The header that marks a re-filed record; its value is the coordinates it came from."""


MAX_BYTES = 900_000
"""What a record of ours may hold: below librdkafka's and the broker's limits, both about 1 MB."""


class OversizedError(SourceError):
    """A record gives more than a Kafka record may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A record to be written in the batch's transaction; ``partition`` None: wherever."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes
    headers: Headers


_write = maker(Write)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refile:
    """A record to be written again, where its key belongs."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


@dataclass(slots=True)
class Effects:
    """All that a batch amounts to. Filled while folding; the state changes after the commit."""

    writes: list[Write] = field(default_factory=list)
    refiles: list[Refile] = field(default_factory=list)
    changes: dict[bytes, Consent] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Decisions by kind, dead letters by reason (``dead:refused`` …), ``refiled`` and ``opt-
    outs``."""
    suspects: int = 0
    """Dead letters that may be our own fault: see :mod:`izin.streams.budget`."""
    lost_rets: list[tuple[str, int, int]] = field(default_factory=list)
    """The coordinates of every "no" that became a dead letter: each is an alarm."""


class OrderStage:
    """Folds batches into effects."""

    def __init__(self, *, topics: Topics, partitions: int, codec: Codec) -> None:
        self._topics = topics
        self._partitions = partitions
        self._codec = codec
        self._guard = Guard(codec)
        self._decisions = DecisionWriter(codec)
        self._event_header = codec.header("ConsentEvent")
        self._consent_header = codec.header("Consent")

    def fold(self, partition: int, records: Iterable[SourceRecord], state: State) -> Effects:
        """Return what ``records`` of either lane of ``partition`` do to ``state``."""
        effects = Effects()
        for record in records:
            judged = self._guard.judge(record)
            if isinstance(judged, DeadLetter):
                self._bury(effects, record, judged)
                continue
            claim = judged.claim
            key = claim.key.encode()
            current = effects.changes.get(key) or state.get(key)
            try:
                # A key that is held was once found to belong here: no need to hash it again.
                if current is None and partition_of(key, self._partitions) != partition:
                    self._refile(effects, record, claim, key)
                else:
                    self._decide(effects, record, judged, key, current)
            except Exception as error:  # noqa: BLE001  # pure code stumbled, and noted nothing yet
                letter = poison(error, says_ret=claim.status is Status.RET)
                self._bury(effects, record, letter)
        return effects

    def _decide(
        self,
        effects: Effects,
        record: SourceRecord,
        judged: Judged,
        key: bytes,
        current: Consent | None,
    ) -> None:
        decision = decide(current, judged.claim)
        counts = effects.counts
        if decision.kind is DecisionKind.DUPLICATE:
            counts[decision.kind] += 1
            return
        topics, event = self._topics, judged.claim.event
        row = self._codec.encode("Consent", consent_to_avro(decision.consent))
        told = self._told(decision, record, row, as_it_came=judged.as_it_came)
        about = headers(
            record="Decision",
            event_id=event.event_id,
            source=f"/{event.customer_id}/{event.origin}",
            at=judged.claim.effective_at,
        )
        # The decision holds all that the others do, key and headers too: a small one needs no sum.
        if len(told) > MAX_BYTES // 4 and _size(key, told, about) > MAX_BYTES:
            raise OversizedError(topics.decisions.name)

        def write(topic: str, value: bytes, about: Headers) -> None:
            effects.writes.append(
                _write(topic=topic, partition=record.partition, key=key, value=value, headers=about)
            )

        counts[decision.kind] += 1
        if decision.consent is not current:
            of_row = retyped(about, "Consent")
            effects.changes[key] = decision.consent
            write(topics.consents.name, row, of_row)
            if decision.opted_out:
                counts["opt-outs"] += 1
                write(topics.opt_outs.name, row, of_row)
        write(topics.decisions.name, told, about)

    def _told(
        self, decision: Decision, record: SourceRecord, row: bytes, *, as_it_came: bool
    ) -> bytes:
        """Return ``decision`` encoded around ``row``, its Consent as it is written to its topic."""
        claim, value = decision.claim, record.value or b""
        if as_it_came and value.startswith(self._event_header):
            event = value[len(self._event_header) :]
        else:
            event = self._event_body(claim.event)
        if len(event) > MAX_BYTES // 2 and claim.status is Status.RET:
            event = self._event_body(replace(claim.event, evidence={}))
        return self._decisions.encode(
            decision,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._consent_header) :],
            event=event,
        )

    def _event_body(self, event: ConsentEvent) -> bytes:
        return self._codec.encode("ConsentEvent", event_to_avro(event))[len(self._event_header) :]

    def _refile(self, effects: Effects, record: SourceRecord, claim: Claim, key: bytes) -> None:
        if any(name == REFILED for name, _ in record.headers):
            self._bury(effects, record, refiled_twice(claim))
            return
        came_from = f"{record.topic}/{record.partition}/{record.offset}".encode()
        first_appended = str(record.timestamp).encode()
        refile = Refile(
            topic=record.topic,
            partition=partition_of(key, self._partitions),
            key=key,
            value=record.value or b"",
            headers=[*record.headers, (REFILED, came_from), (APPENDED_AT, first_appended)],
        )
        if _size(key, refile.value, refile.headers) > MAX_BYTES:
            raise OversizedError(record.topic)
        effects.counts["refiled"] += 1
        effects.refiles.append(refile)

    def _bury(self, effects: Effects, record: SourceRecord, letter: DeadLetter) -> None:
        effects.counts[f"dead:{letter.reason}"] += 1
        effects.suspects += letter.is_suspect
        if letter.lost_ret:
            effects.lost_rets.append((record.topic, record.partition, record.offset))
        key = record.key
        effects.writes.append(
            Write(
                topic=self._topics.dead_letters.name,
                partition=None,
                key=key if key is None or len(key) <= KEPT_BYTES else None,
                value=self._codec.encode("DeadLetter", dead_letter_to_avro(letter, record)),
                headers=[],
            )
        )


def _size(key: bytes, value: bytes, about: Headers) -> int:
    """Return what a record of these will weigh, about."""
    return (
        len(key) + len(value) + sum(len(name) + len(content or b"") + 16 for name, content in about)
    )


def unseen(records: Sequence[SourceRecord], next_offset: int) -> Sequence[SourceRecord]:
    """Return those of ``records`` that no committed transaction has decided yet."""
    if records[0].offset >= next_offset:
        return records
    return [record for record in records if record.offset >= next_offset]
