"""Fold a batch of records into what must be written: admit, repartition, decide, one by one.

Every applied event gives one ``desired-consents`` row and one decision; every change of the
effective status to RET gives one ``consent-opt-outs`` row. A stale or enriching event gives a
decision too, and a row where it changed the state. A duplicate gives nothing, a refused one a dead
letter. Nothing here does I/O or reads a clock, so a replay folds to the same bytes.

A key belongs to the partition that murmur2 gives it. A record found elsewhere (a producer keyed it
its own way) is repartitioned once, marked by a header; a marked one that is still in the wrong
partition is a dead letter.

An erasure leaves nothing of a key but a suppression (``outputs``).
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final, TypeGuard

from izin.consent import AdmittedEvent, DecisionKind, Status, decide
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.fast.writer import EPOCH
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topics
from izin.streams.fast_path.simple_events import SimpleEventReader, decide_simple
from izin.streams.fetched_record import FetchedRecord
from izin.streams.guard import (
    AdmittedRecord,
    DeadLetter,
    ErasureRecord,
    Guard,
    not_erasable,
    oversized,
    poison,
)
from izin.streams.outputs import Erasures, OutputWriter, OversizedError
from izin.streams.ownership import SUPPRESSED, Effects
from izin.streams.state.packing import Packing
from izin.streams.state.state import PartitionState

_MICROSECOND = timedelta(microseconds=1)
_DUPLICATE: Final = DecisionKind.DUPLICATE
_STALE: Final = DecisionKind.STALE


class OrderStage:
    """Folds batches into effects."""

    def __init__(
        self,
        *,
        topics: Topics,
        partitions: int,
        codec: Codec,
        suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    ) -> None:
        self._outputs = OutputWriter(topics=topics, partitions=partitions, codec=codec)
        self._erasures = Erasures(keys=suppressions, topics=topics, codec=codec)
        self._partitions = partitions
        self._dead_letters = topics.dead_letters.name
        self._guard = Guard(codec)
        self._simple_events = SimpleEventReader(codec)

    def fold(
        self,
        partition: int,
        records: Iterable[FetchedRecord],
        state: PartitionState,
        before: Effects | None = None,
    ) -> Effects:
        """Return the effects on ``state`` of ``records``, of either lane of ``partition``, added to
        those of the records ``before`` them.
        """
        effects = Effects() if before is None else before
        for record in records:
            try:
                is_done = self._fold_fast(effects, record, partition, state)
            except Exception:  # noqa: BLE001  # nothing was added yet, and the general path decides
                is_done = False
            if not is_done:
                self._fold_general(effects, record, partition, state)
        return effects

    def fold_opt_outs(
        self,
        partition: int,
        records: Iterable[FetchedRecord],
        state: PartitionState,
        effects: Effects,
    ) -> None:
        """Add the ``effects`` of the opt-outs (RET) among ``records`` alone.

        :meth:`fold_rest` follows some day: it writes the dead letters too, which are due of those
        that are ``unsettled`` then.
        """
        for record in records:
            checked, before = self._guard.admit(record), len(effects.writes)
            if _is_opt_out(checked):
                self._fold_admitted(effects, record, checked, partition, state)
                if not effects.writes[before:] or effects.writes[-1].topic != self._dead_letters:
                    continue
                del effects.writes[before:]
            elif not isinstance(checked, DeadLetter):
                continue
            effects.unsettled.append((record.topic, record.offset))

    def fold_rest(
        self,
        partition: int,
        records: Iterable[FetchedRecord],
        state: PartitionState,
        effects: Effects,
        has_settled: Callable[[int], bool],
    ) -> None:
        """Add the ``effects`` of ``records`` but the opt-outs (RET) that :meth:`fold_opt_outs`
        decided, if ``has_settled`` says so of their offset: decided twice, they would be two.
        """
        for record in records:
            if has_settled(record.offset) and _is_opt_out(self._guard.admit(record)):
                effects.counts[_DUPLICATE] += 1
            else:
                self.fold(partition, (record,), state, effects)

    def _fold_fast(
        self, effects: Effects, record: FetchedRecord, partition: int, state: PartitionState
    ) -> bool:
        """Add the effects of a simple event; False, with nothing added, where it is none."""
        event = self._simple_events.read(record)
        if event is None:
            return False
        key, packing = record.key or b"", state.packing
        packed = _packed(effects, state, key)
        # A key in the state was once found to belong here: no need to hash it again.
        if packed is None and partition_of(key, self._partitions) != partition:
            return False
        if (
            (state.suppresses or effects.suppresses)
            and not event.content.is_ret
            and self._erasures.suppress(effects, state, key, event.effective)
        ):
            effects.counts[SUPPRESSED] += 1
            return True
        decision = decide_simple(event, packed, packing)
        if decision is None:
            return False
        kind = decision.kind
        if kind is _DUPLICATE:
            effects.counts[kind] += 1
            return True
        changed = None if kind is _STALE else decision.pack(packing)
        self._outputs.simple(effects, record, key, event, decision, changed)
        return True

    def _fold_general(
        self, effects: Effects, record: FetchedRecord, partition: int, state: PartitionState
    ) -> None:
        checked = self._guard.admit(record)
        if isinstance(checked, DeadLetter):
            self._outputs.dead_letter(effects, record, checked)
        else:
            self._fold_admitted(effects, record, checked, partition, state)

    def _fold_admitted(
        self,
        effects: Effects,
        record: FetchedRecord,
        checked: AdmittedRecord | ErasureRecord,
        partition: int,
        state: PartitionState,
    ) -> None:
        admitted, outputs = checked.admitted, self._outputs
        key = admitted.key.encode()
        packed = _packed(effects, state, key)
        try:
            if (state.suppresses or effects.suppresses) and self._is_suppressed(
                effects, admitted, key, state
            ):
                effects.counts[SUPPRESSED] += 1
            elif packed is None and partition_of(key, self._partitions) != partition:
                outputs.repartition(effects, record, admitted, key)
            elif isinstance(checked, AdmittedRecord):
                self._decide(effects, record, checked, key, packed, state.packing)
            elif self._erasures.can_erase:
                current = None if packed is None else state.packing.unpack(key, packed)
                self._erasures.erase(effects, record, admitted, state, current)
            else:
                outputs.dead_letter(effects, record, not_erasable())
        except OversizedError:
            outputs.dead_letter(effects, record, oversized(admitted.event))
        except Exception as error:  # noqa: BLE001  # pure code failed, and added nothing yet
            outputs.dead_letter(effects, record, poison(error, admitted.event))

    def _decide(  # noqa: PLR0913, PLR0917  # an event, its record, and the state of its key
        self,
        effects: Effects,
        record: FetchedRecord,
        checked: AdmittedRecord,
        key: bytes,
        packed: bytes | None,
        packing: Packing,
    ) -> None:
        current = None if packed is None else packing.unpack(key, packed)
        decision = decide(current, checked.admitted)
        kind = decision.kind
        if kind is _DUPLICATE:
            effects.counts[kind] += 1
            return
        changed = None if decision.consent is current else packing.pack(decision.consent)
        self._outputs.general(effects, record, key, checked, decision, changed)

    def _is_suppressed(
        self, effects: Effects, admitted: AdmittedEvent, key: bytes, state: PartitionState
    ) -> bool:
        effective = (admitted.effective_at - EPOCH) // _MICROSECOND
        return admitted.status is Status.ONAY and self._erasures.suppress(
            effects, state, key, effective
        )


def _is_opt_out(
    checked: AdmittedRecord | ErasureRecord | DeadLetter,
) -> TypeGuard[AdmittedRecord]:
    return isinstance(checked, AdmittedRecord) and checked.admitted.status is Status.RET


def _packed(effects: Effects, state: PartitionState, key: bytes) -> bytes | None:
    """Return the packed consent of ``key`` as the batch leaves it so far, or None."""
    changed = effects.changes.get(key)
    return state.packed(key) if changed is None else changed or None
