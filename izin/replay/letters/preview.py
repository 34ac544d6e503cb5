"""What the law would make of redriven records, one after the other, over the present state.

It is the order stage itself that folds them (``OrderStage.fold``), in the order in which they will
be written, over the rows of ``desired-consents`` that their keys have now. What the order stage has
not decided yet is not in those rows, and may make a difference: it is named afterwards.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from izin.consent.model import DecisionKind
from izin.replay.letters.orders import RedriveOrder
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.reading import OnProgress, silent
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED, SUPPRESSED, SuppressionKeys
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.effects import SUPPRESSED as SUPPRESSED_COUNT
from izin.streams.ownership.effects import Effects
from izin.streams.state.state import MemoryState

_GROUP = "izin-redrive"
_REPORT_EVERY = 1000
_OUTCOMES: Mapping[str, Outcome] = {
    DecisionKind.APPLY: Outcome.APPLIED,
    DecisionKind.ENRICHED: Outcome.ENRICHED,
    DecisionKind.STALE: Outcome.STALE,
    DecisionKind.DUPLICATE: Outcome.DUPLICATE,
    ERASED: Outcome.ERASED,
    SUPPRESSED_COUNT: Outcome.SUPPRESSED,
    "repartitioned": Outcome.MOVED,
}
"""By the name under which the order stage counts it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What would become of a redriven record."""

    outcome: Outcome
    codes: tuple[str, ...] = ()
    """The codes of the violations, where it would be refused."""


class Preview:
    """The order stage over the present state of some keys."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, suppressions: SuppressionKeys
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._suppressions = suppressions
        self._stage = OrderStage(
            topics=settings.topics,
            partitions=settings.partitions,
            codec=codec,
            suppressions=suppressions,
        )

    def predict(
        self, orders: Sequence[RedriveOrder], *, progress: OnProgress = silent
    ) -> list[Prediction]:
        """Return what would become of each of ``orders``, written in this order.

        Raises:
            BrokerError: Kafka cannot be read.
            StateError: the state is of a newer law, or names erasures whose secret is not here.
        """
        keys = defaultdict[int, set[bytes]](set)
        for one in orders:
            keys[one.record.partition].update(() if one.key is None else (one.key,))
        with kafka.broker_errors(self._settings):
            states = self._states(keys, progress)
        found = []
        for number, one in enumerate(orders):
            partition = one.record.partition
            effects = self._stage.fold(partition, [FetchedRecord(*one.record)], states[partition])
            states[partition].apply(effects.changes, 0)
            found.append(self._prediction(effects))
            if number % _REPORT_EVERY == 0:
                progress(number, len(orders))
        return found

    def _states(
        self, keys: Mapping[int, Collection[bytes]], progress: OnProgress
    ) -> Mapping[int, MemoryState]:
        topic = self._settings.topics.desired_consents.name
        ends = kafka.committed_ends(self._settings, topic)
        states = {}
        for done, (number, wanted) in enumerate(keys.items()):
            progress(done, len(keys))
            state = states[number] = _StateOfSome(wanted)
            log = Changelog(number, self._settings, _GROUP, self._codec, self._suppressions)
            log.read(state, topic, ends[number])
        return states

    def _prediction(self, effects: Effects) -> Prediction:
        for name in effects.counts:
            if name in _OUTCOMES:
                return Prediction(_OUTCOMES[name])
        (letter,) = effects.writes
        written = self._codec.decode("DeadLetter", letter.value or b"")
        codes = tuple(dict.fromkeys(one["code"] for one in written["violations"]))
        return Prediction(Outcome.REFUSED, codes or (written["reason"],))


class _StateOfSome(MemoryState):
    """The state of the keys that are wanted, and of all suppressions."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        super().__init__()
        self._wanted = wanted

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply those of ``rows`` that are wanted."""
        wanted = self._wanted
        some = {
            key: packed
            for key, packed in rows.items()
            if key in wanted or key.startswith(SUPPRESSED)
        }
        super().apply(some, position)
