"""izin with the contenders' work only: the real order worker, with the common rule for the law.

Transport, state and transactions are those of the product. The output is one row of
``desired-consents`` for each change, nothing else; undecodable records are dropped.
"""

from collections.abc import Iterable
from unittest import mock

from benchmarks.order.contenders import izin_everything
from benchmarks.order.contenders.task import Task
from izin.consent import LAW_VERSION, OriginRank, Status
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.fast.record_format import NO_HEADERS
from izin.schemas.generated.consent_event_offsets import event_offsets
from izin.schemas.topics import Topics
from izin.streams.engine import worker
from izin.streams.fast_path.rows import RowWriter
from izin.streams.fast_path.simple_events import SharedContent, SimpleEvent, SimpleEventReader
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership import Effects, output_record
from izin.streams.state.packing import NEVER
from izin.streams.state.state import PartitionState

_SECOND = 1_000_000


class LatestWinsStage:
    """Folds batches by the common rule."""

    def __init__(
        self,
        *,
        topics: Topics,
        partitions: int,  # noqa: ARG002  # the stage's own signature
        codec: Codec,
        suppressions: SuppressionKeys,  # noqa: ARG002  # the same: nothing is erased here
    ) -> None:
        self._consents = topics.desired_consents.name
        self._codec = codec
        self._header = codec.header("ConsentEvent")
        self._rows = RowWriter(codec)
        self._simple_events = SimpleEventReader(codec)

    def fold(
        self,
        partition: int,
        records: Iterable[FetchedRecord],
        state: PartitionState,
        before: Effects,
    ) -> Effects:
        """Return the rows of folding ``records`` over ``state``, added to those ``before``."""
        effects, packing = before, state.packing
        changes, writes = effects.changes, effects.writes
        read, write, pack = self._simple_events.read, self._rows.write, packing.pack_facts
        for record in records:
            event = read(record) or self._other(record)
            if event is None:
                continue
            key, at, is_ret = record.key or b"", event.effective, event.content.is_ret
            onay, ret = NEVER, NEVER
            packed = changes.get(key) or state.packed(key)
            if packed is not None:
                current, effective, _, onay, ret = packing.unpack_instants(packed)
                ties = at == effective and is_ret and current[1] is Status.ONAY
                if at <= effective and not ties:
                    continue
            if is_ret:
                ret = at
            else:
                onay = at
            facts = event.content.fields, at, event.consent_date, onay, ret, event.event_id
            changes[key] = pack(*facts)
            row = write(event.key_fields, *facts)
            writes.append(output_record((self._consents, partition, key, row, NO_HEADERS)))
        return effects

    def _other(self, record: FetchedRecord) -> SimpleEvent | None:
        """Return the event of ``record`` where the product would not call it simple."""
        value, start = record.value or b"", len(self._header)
        try:
            offsets = event_offsets(value, start)
            event = self._codec.decode_event(value)
        except (IndexError, ValueError, UndecodableError):
            return None
        event_id, customer, recipient, *_, stated_at, received_at, end = offsets
        if end != len(value) or stated_at is None or received_at is None:
            return None
        status = Status(event.status)
        fields = (
            event.customer_id,
            status,
            OriginRank.OURS,
            event.origin,
            event.source,
            True,
            LAW_VERSION,
        )
        content = SharedContent(fields, status, "")
        identity = value[customer:recipient], value[start + 1 : event_id]
        found = SimpleEvent(content, *identity, stated_at * 1000)
        found.effective = min(stated_at, received_at) // 1000 * _SECOND
        return found


def main(task: Task) -> None:
    """Run until the process is ended."""
    with mock.patch.object(worker, "OrderStage", LatestWinsStage):
        izin_everything.main(task)


if __name__ == "__main__":
    main(Task.from_command_line())
