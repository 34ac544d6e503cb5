"""Decide erased keys again in the order in which they were decided.

What an erasure leaves depends on what came before it: an opt-out (RET) decided earlier is erased
with its key, and one decided later stands. That order is the one of the decisions, in their topic
and in the history; the two lanes alone do not have it. So the decisions on such keys are read, and
the law decides their events once more, one key at a time.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from izin.kafka.bounded_reader import BoundedReader
from izin.replay.order_state.decisions import AvroDecision, decided_again, is_erasure
from izin.replay.order_state.planning import Installation, decided_offsets
from izin.replay.order_state.removed_input import removed_decisions
from izin.replay.order_state.shadow import Shadow
from izin.runtime import kafka
from izin.runtime.plan import Plan
from izin.schemas.erasure import ERASED
from izin.schemas.fast.writer import EPOCH, MILLISECOND, writer_of
from izin.sinks.ledger.history.formats import history_codec
from izin.streams.outputs import suppression_row
from izin.streams.state.state import suppression

_ERASED = writer_of("string")(ERASED)
"""How a decision on an erasure begins."""


def settle_erased(
    shadow: Shadow, installation: Installation, plan: Plan, number: int, folder: Path
) -> None:
    """Correct the keys of ``shadow`` that were erased at some time.

    A key whose erasure is in no decision that can be read is ``incomplete``.
    """
    if not installation.suppressions:  # without a secret nothing can be erased
        return
    log = _DecisionLog(installation, plan, number)
    if log.lacks_events:  # else every erasure is in a lane
        shadow.erased |= log.erased_keys()
    if not shadow.erased:
        return
    decisions = _of_history(shadow.erased, folder, number)
    for key, decision in log.of_keys(shadow.erased):
        decisions[key].append(decision)
    state, changes = shadow.state, dict[bytes, bytes | None]()
    for key in shadow.erased:
        found = decisions[key]
        if not any(map(is_erasure, found)):
            shadow.incomplete.add(key)
            continue
        consent = decided_again(found)
        changes[key] = None if consent is None else state.packing.pack(consent)
        last = max(filter(is_erasure, found), key=lambda one: one["effective_at"])
        suppressed = installation.suppressions.of(key)
        if suppressed not in shadow.suppression_rows:
            at, event_id = last["effective_at"], last["event"]["event_id"]
            changes[suppressed] = suppression((at - EPOCH) // MILLISECOND)
            row = suppression_row(installation.codec, at, event_id)
            shadow.suppression_rows[suppressed] = row
    state.apply(changes, 0)


def _of_history(
    keys: set[bytes], folder: Path, number: int
) -> defaultdict[bytes, list[AvroDecision]]:
    """Return the decisions of ``keys`` that the history has, in their order."""
    codec, found = history_codec(), defaultdict[bytes, list[AvroDecision]](list)
    rows = [one for one in removed_decisions(folder, number) if one.key in keys and one.decision]
    for one in sorted(rows, key=lambda row: (row.recorded, row.place)):
        found[one.key].append(codec.decode("Decision", one.decision))
    return found


class _DecisionLog:
    """The decisions of a partition that their topic has, on events that the plan reads."""

    def __init__(self, installation: Installation, plan: Plan, number: int) -> None:
        self._settings, self._codec = installation.kafka, installation.codec
        self._topic = installation.kafka.topics.decisions.name
        self._number = number
        self._decided = decided_offsets(plan, installation.kafka, number)
        self.lacks_events = any(plan.topics[lane].starts[number] for lane in self._decided)
        """Whether the lanes no longer have all events."""

    def erased_keys(self) -> set[bytes]:
        """Return the keys that were erased."""
        header = self._codec.header("Decision")
        beginning = header + _ERASED
        return {
            key
            for key, value in self._read()
            if value.startswith(beginning)
            or (not value.startswith(header) and is_erasure(self._codec.decode("Decision", value)))
        }

    def of_keys(self, keys: set[bytes]) -> Iterator[tuple[bytes, AvroDecision]]:
        """Yield each decision on one of ``keys``, with its key, in the order of the decisions."""
        for key, value in self._read():
            if key not in keys:
                continue
            decision = self._codec.decode("Decision", value)
            if decision["offset"] < self._decided.get(decision["topic"], 0):
                yield key, decision

    def _read(self) -> Iterator[tuple[bytes, bytes]]:
        number = self._number
        start, end = kafka.watermarks(self._settings, self._topic)[number]
        reader = BoundedReader(self._settings, "izin-replay", self._topic)
        try:
            for messages in reader.read({number: start}, {number: end}):
                for one in messages:
                    value = one.value()
                    if value is not None:
                        yield one.key() or b"", value
        finally:
            reader.close()
