"""The decisions on events that the lanes no longer have, or whose order counts: of the topic, and
of the ledger's history. The history has none on an erasure, but the ledger has the erasures.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from izin.consent import AdmittedEvent, Consent, Status, Violation, decide
from izin.kafka import clients
from izin.ledger.history import history_codec
from izin.replay.order_state.planning import (
    Installation,
    RemovedDecision,
    records_between,
    removed_decisions,
)
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED
from izin.schemas.fast.writer import writer_of
from izin.schemas.records import event_from_avro, key_from_avro

AvroDecision = Mapping[str, Any]
"""A decoded Avro Decision."""
_ERASED = writer_of("string")(ERASED)
"""How a decision on an erasure begins."""


def decoded(codec: Codec, one: RemovedDecision) -> AvroDecision | None:
    """Return the decision that the history has; of an erasure what matters of it."""
    if one.erasure is None:
        return codec.decode("Decision", one.decision) if one.decision else None
    at, event_id = one.erasure
    return {"kind": ERASED, "effective_at": at, "event": {"event_id": event_id}}


def identity_of(decision: AvroDecision) -> object:
    """Return what tells a decision from others: of an erasure its event, else its place."""
    if is_erasure(decision):
        return decision["event"]["event_id"]
    return decision["topic"], decision["partition"], decision["offset"]


def of_topic(
    keys: set[bytes], installation: Installation, decided: Mapping[str, int], number: int
) -> defaultdict[bytes, list[AvroDecision]]:
    """Return the decisions of ``keys`` that their topic has, in their order, of events below those
    that are ``decided`` of each lane.
    """
    found = defaultdict[bytes, list[AvroDecision]](list)
    for key, value in _decisions(installation, number):
        if key in keys:
            decision = installation.codec.decode("Decision", value)
            if decision["offset"] < decided.get(decision["topic"], 0):
                found[key].append(decision)
    return found


def of_history(
    keys: set[bytes], folder: Path, number: int
) -> defaultdict[bytes, list[AvroDecision]]:
    """Return the decisions of ``keys`` that the ledger has, in their order."""
    codec, found = history_codec(), defaultdict[bytes, list[AvroDecision]](list)
    rows = [
        removed_decision
        for removed_decision in removed_decisions(folder, number)
        if removed_decision.key in keys
    ]
    for one in sorted(rows, key=lambda row: (row.recorded, row.place)):
        if (decision := decoded(codec, one)) is not None:
            found[one.key].append(decision)
    return found


def erased_keys(installation: Installation, number: int) -> set[bytes]:
    """Return the keys that were erased, by the decisions that their topic has."""
    codec = installation.codec
    header = codec.header("Decision")
    beginning = header + _ERASED
    return {
        key
        for key, value in _decisions(installation, number)
        if value.startswith(beginning)
        or (not value.startswith(header) and is_erasure(codec.decode("Decision", value)))
    }


def _decisions(installation: Installation, number: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the decisions of a partition that their topic has, with their keys, in order."""
    settings, topic = installation.kafka, installation.kafka.topics.decisions.name
    start, end = clients.watermarks(settings, topic)[number]
    for messages in records_between(settings, topic, number, start, end):
        for message in messages:
            value = message.value()
            if value is not None:
                yield message.key() or b"", value


def is_erasure(decision: AvroDecision) -> bool:
    """Whether it was made on an erasure of its key."""
    return bool(decision["kind"] == ERASED)


def admitted_of(decision: AvroDecision) -> AdmittedEvent:
    """Return the event that was decided, as it was admitted."""
    return AdmittedEvent(
        key=key_from_avro(decision["consent"]),
        status=Status(decision["event"]["status"]),
        effective_at=decision["effective_at"],
        event=event_from_avro(decision["event"]),
        violations=tuple(Violation(**one) for one in decision["violations"]),
    )


def decided_again(decisions: Iterable[AvroDecision]) -> Consent | None:
    """Return the consent of a key after ``decisions`` on all of its events, in their order; None
    where it is erased.

    A repetition changes nothing: each event counts where it was decided first.
    """
    current: Consent | None = None
    seen: set[object] = set()
    for decision in decisions:
        identity = identity_of(decision)
        if identity in seen:
            continue
        seen.add(identity)
        if not is_erasure(decision):
            current = decide(current, admitted_of(decision)).consent
        elif current is not None and current.effective_at <= decision["effective_at"]:
            current = None
    return current
