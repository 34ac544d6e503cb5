"""izin with the contenders' work only: the real order worker, with the common rule for the law.

Transport, state and transactions are those of the product. The output is one row of
``desired-consents`` for each change, nothing else; undecodable records are dropped.
"""

from collections.abc import Iterable
from unittest import mock

from benchmarks.order.contenders import izin_everything
from benchmarks.order.contenders.task import Task
from izin.consent.model import LAW_VERSION, OriginRank, Status
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.generated.consent_event_offsets import event_offsets
from izin.schemas.topics import Topics
from izin.streams.engine import worker
from izin.streams.fast_path.row_writer import RowWriter
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership.effects import Effects, output_record
from izin.streams.state.packing import SharedFields
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
        self._words: dict[tuple[bytes, ...], SharedFields] = {}

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
        start = len(self._header)
        for record in records:
            key, value = record.key or b"", record.value or b""
            # fmt: off
            try:
                (event_id, customer, recipient, raw, source, received, origin, _, _, _, _, _, _, _,
                 stated_at, received_at, end) = event_offsets(value, start)
            except (IndexError, ValueError):
                continue
            # fmt: on
            if end != len(value) or stated_at is None or received_at is None:
                continue
            at = min(stated_at, received_at) // 1000 * _SECOND
            spelling = value[event_id:customer], value[raw:source], value[received:origin]
            words = self._words.get(spelling) or self._new_words(spelling, value)
            is_ret = words[1] is Status.RET
            onay, ret = None, None
            packed = changes.get(key) or state.packed(key)
            if packed is not None:
                current, effective, _, onay, ret, _ = packing.unpack_facts(packed)
                ties = at == effective and is_ret and current[1] is Status.ONAY
                if at <= effective and not ties:
                    continue
            if is_ret:
                ret = at
            else:
                onay = at
            facts = words, at, stated_at * 1000, onay, ret, value[start + 1 : event_id]
            changes[key] = packing.pack_facts(*facts)
            row = self._rows.write(value[customer:recipient], facts)
            writes.append(output_record((self._consents, partition, key, row, [])))
        return effects

    def _new_words(self, spelling: tuple[bytes, ...], value: bytes) -> SharedFields:
        event = self._codec.decode_event(value)
        status = Status(event.status)
        words = self._words[spelling] = (
            event.customer_id,
            status,
            OriginRank.OURS,
            event.origin,
            event.source,
            True,
            LAW_VERSION,
        )
        return words


def main(task: Task) -> None:
    """Run until the process is ended."""
    with mock.patch.object(worker, "OrderStage", LatestWinsStage):
        izin_everything.main(task)


if __name__ == "__main__":
    main(Task.from_command_line())
