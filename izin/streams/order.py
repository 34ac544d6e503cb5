"""From a batch of records to what must be written: judge, re-file, decide, record by record.

For every applied claim one ``desired-consents`` row and one decision; for every change of the effective
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

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from izin.consent.errors import SourceError
from izin.consent.model import Claim, ConsentEvent, Decision, DecisionKind, Status
from izin.consent.ordering import decide
from izin.schemas.cloud_events import Marking
from izin.schemas.fast.decision_writer import DecisionWriter
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.streams.fast_path.row_writer import Rows, moment
from izin.streams.fast_path.simple_events import Plain, PlainReader, Verdict, decide_plainly
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
from izin.streams.ownership.effects import DEAD, Effects, Refile, Write, size, write_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from izin.schemas.cloud_events import Headers
    from izin.schemas.codec import Codec
    from izin.schemas.topics import Topics
    from izin.streams.state.packing import Packing
    from izin.streams.state.state import State

REFILED = "izin-refiled"
"""The header that marks a re-filed record; its value is the coordinates it came from."""


MAX_BYTES = 900_000
"""What a record of ours may hold: below librdkafka's and the broker's limits, both about 1 MB."""


_SECOND = timedelta(seconds=1)


class OversizedError(SourceError):
    """A record gives more than a Kafka record may hold."""


class OrderStage:
    """Folds batches into effects."""

    def __init__(self, *, topics: Topics, partitions: int, codec: Codec) -> None:
        self._topics = topics
        self._consents, self._opt_outs = topics.desired_consents.name, topics.opt_outs.name
        self._told_to = topics.decisions.name
        self._partitions = partitions
        self._codec = codec
        self._guard = Guard(codec)
        self._plain = PlainReader(codec)
        self._rows = Rows(codec)
        self._decisions = DecisionWriter(codec)
        self._of_decision, self._of_consent = Marking("Decision"), Marking("Consent")
        self._event_header = codec.header("ConsentEvent")
        self._consent_header = codec.header("Consent")

    def fold(
        self,
        partition: int,
        records: Iterable[SourceRecord],
        state: State,
        before: Effects | None = None,
    ) -> Effects:
        """Return what ``records`` of either lane of ``partition`` do to ``state``, added to what
        those ``before`` them do.
        """
        effects = Effects() if before is None else before
        for record in records:
            try:
                is_done = self._fold_plain(effects, record, partition, state)
            except Exception:  # noqa: BLE001  # nothing is noted yet, and the judges know better
                is_done = False
            if not is_done:
                self._fold_judged(effects, record, partition, state)
        return effects

    def _fold_plain(
        self, effects: Effects, record: SourceRecord, partition: int, state: State
    ) -> bool:
        """Note what a plain statement does; False, with nothing noted, where it is none."""
        said = self._plain.read(record)
        if said is None:
            return False
        key, packing = record.key or b"", state.packing
        held = effects.changes.get(key) or state.packed(key)
        # A key that is held was once found to belong here: no need to hash it again.
        if held is None and partition_of(key, self._partitions) != partition:
            return False
        verdict = decide_plainly(said, held, packing)
        if verdict is None:
            return False
        kind = verdict[0]
        if kind is DecisionKind.DUPLICATE:
            effects.counts[kind] += 1
        else:
            self._note_plain(effects, record, key, said, verdict, packing)
        return True

    def _note_plain(  # noqa: PLR0913, PLR0917  # a statement, where it was made, what came of it
        self,
        effects: Effects,
        record: SourceRecord,
        key: bytes,
        said: Plain,
        verdict: Verdict,
        packing: Packing,
    ) -> None:
        kind, reason, opted_out, facts = verdict
        (_, _, source), address, event_id, _, effective = said
        row = self._rows.write(address, facts)
        told = self._decisions.encode(
            kind=kind,
            reason=reason,
            opted_out=opted_out,
            effective_at=moment(effective),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._consent_header) :],
            event=(record.value or b"")[len(self._event_header) :],
        )
        about = self._of_decision.headers(event_id, source, effective // 1_000_000)
        changed = None if kind is DecisionKind.STALE else packing.join(*facts)
        self._note(effects, record.partition, key, kind, opted_out, changed, row, told, about)

    def _note(  # noqa: PLR0913, PLR0917  # what was decided, and all that is written of it
        self,
        effects: Effects,
        partition: int,
        key: bytes,
        kind: DecisionKind,
        opted_out: bool,
        changed: bytes | None,
        row: bytes,
        told: bytes,
        about: Headers,
    ) -> None:
        """Note a decision that was ``told``, and the ``row`` where it ``changed`` the state."""
        counts, writes = effects.counts, effects.writes
        counts[kind] += 1
        if changed is not None:
            effects.changes[key] = changed
            of_row = self._of_consent.retyped(about)
            writes.append(write_of((self._consents, partition, key, row, of_row)))
            if opted_out:
                counts["opt-outs"] += 1
                writes.append(write_of((self._opt_outs, partition, key, row, of_row)))
        writes.append(write_of((self._told_to, partition, key, told, about)))

    def _fold_judged(
        self, effects: Effects, record: SourceRecord, partition: int, state: State
    ) -> None:
        judged = self._guard.judge(record)
        if isinstance(judged, DeadLetter):
            self._bury(effects, record, judged)
            return
        claim = judged.claim
        key = claim.key.encode()
        held = effects.changes.get(key) or state.packed(key)
        try:
            if held is None and partition_of(key, self._partitions) != partition:
                self._refile(effects, record, claim, key)
            else:
                self._decide(effects, record, judged, key, held, state.packing)
        except Exception as error:  # noqa: BLE001  # pure code stumbled, and noted nothing yet
            letter = poison(error, says_ret=claim.status is Status.RET)
            self._bury(effects, record, letter)

    def _decide(  # noqa: PLR0913, PLR0917  # a claim, where it was made, and what is held
        self,
        effects: Effects,
        record: SourceRecord,
        judged: Judged,
        key: bytes,
        held: bytes | None,
        packing: Packing,
    ) -> None:
        current = None if held is None else packing.unpack(key, held)
        decision = decide(current, judged.claim)
        if decision.kind is DecisionKind.DUPLICATE:
            effects.counts[decision.kind] += 1
            return
        event = judged.claim.event
        row = self._codec.encode("Consent", consent_to_avro(decision.consent))
        told = self._told(decision, record, row, as_it_came=judged.as_it_came)
        about = self._of_decision.headers(
            event.event_id.encode(),
            f"/{event.customer_id}/{event.origin}",
            (judged.claim.effective_at - EPOCH) // _SECOND,
        )
        # The decision holds all that the others do, key and headers too: a small one needs no sum.
        if len(told) > MAX_BYTES // 4 and size(key, told, about) > MAX_BYTES:
            raise OversizedError(self._topics.decisions.name)
        changed = None if decision.consent is current else packing.pack(decision.consent)
        self._note(
            effects,
            record.partition,
            key,
            decision.kind,
            decision.opted_out,
            changed,
            row,
            told,
            about,
        )

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
            kind=decision.kind,
            reason=decision.reason,
            opted_out=decision.opted_out,
            effective_at=long_bytes((claim.effective_at - EPOCH) // MILLISECOND),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._consent_header) :],
            event=event,
            violations=claim.violations,
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
        if size(key, refile.value, refile.headers) > MAX_BYTES:
            raise OversizedError(record.topic)
        effects.counts["refiled"] += 1
        effects.refiles.append(refile)

    def _bury(self, effects: Effects, record: SourceRecord, letter: DeadLetter) -> None:
        effects.counts[DEAD + letter.reason] += 1
        effects.suspects += letter.is_suspect
        # Publishers put a "no" on the express lane, so what is unreadable there may be one.
        if letter.lost_ret or record.topic == self._topics.express.name:
            effects.alarms.append((record.topic, record.partition, record.offset))
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
