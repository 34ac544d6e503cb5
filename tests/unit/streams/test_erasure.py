"""An erased key leaves a suppression, and old opt-ins do not bring it back.

Producers and workers of different releases, side by side, whichever framing names the schema.
"""

import copy
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent import ConsentEvent
from izin.kafka.clients import codec
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.contracts import Contract, UnusableSchemaError
from izin.schemas.erasure import ERASURE, SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.errors import StateError
from izin.streams.order import OrderStage
from izin.streams.ownership import Changelog, Effects
from izin.streams.state.packing import Packing
from izin.streams.state.state import MemoryState, erased_until
from tests.support.builders import NOON, a_key, an_event, an_iys_event
from tests.support.order.harness import (
    CODEC,
    EXPRESS,
    HOME,
    KEY,
    PARTITIONS,
    SUPPRESSIONS,
    TOPICS,
    OrderHarness,
    a_record,
    a_spoilt_record as a_spoilt,
    fetched,
    records_of,
)
from tests.support.registry import MemoryRegistry

HARNESS = OrderHarness()
SUPPRESSION = SUPPRESSIONS.of(KEY)
ROWS = TOPICS.desired_consents.name


def after(**time: float) -> dict[str, object]:
    """Return the dates of an event so long after the others."""
    at = NOON + timedelta(**time)
    return {"consent_date": at, "received_at": at}


def an_erasure(**fields: object) -> ConsentEvent:
    """Return the erasure of the key, an hour after the events of tests."""
    given = {"status": ERASURE, "event_id": "erasure-1", "source": None, **after(hours=1)}
    return an_event(**given | fields)


def fold(state: MemoryState, *events: ConsentEvent, is_general: bool = False) -> Effects:
    """Return the effects of events, and apply them to the state."""
    records = records_of(*events, topic=EXPRESS, key=KEY)
    path = HARNESS.fold_generally if is_general else HARNESS.fold
    effects = path(records, state)
    state.apply(effects.changes, state.position + len(records))
    return effects


def an_erased_state() -> MemoryState:
    """Return the state of a key that had an opt-out and was erased."""
    state = MemoryState()
    fold(state, an_event(), an_event(event_id="2", status="RET", **after(minutes=1)))
    fold(state, an_erasure())
    return state


@pytest.fixture
def state() -> MemoryState:
    """Return the state of a key that was erased."""
    return an_erased_state()


def test_erasure_leaves_a_tombstone_and_a_suppression() -> None:
    """In the partition of the key; nothing that is kept names the recipient."""
    state = MemoryState()
    fold(state, an_event(status="RET"))
    effects = fold(state, an_erasure())
    rows = [(one.partition, one.key, one.value) for one in effects.writes if one.topic == ROWS]
    (partition, key, value), tombstone = rows
    assert (partition, key) == (HOME, SUPPRESSION)
    assert tombstone == (HOME, KEY, None)
    assert a_key().recipient.encode() not in SUPPRESSION + (value or b"")
    assert CODEC.decode("Consent", value or b"")["effective_at"] == NOON + timedelta(hours=1)
    (decision,) = HARNESS.written(effects, TOPICS.decisions.name, "Decision")
    assert (decision["kind"], decision["reason"]) == ("erased", "erased")
    assert (decision["event"]["event_id"], decision["event"]["status"]) == ("erasure-1", ERASURE)
    assert state.packed(KEY) is None
    assert state.suppresses
    assert effects.counts["erased"] == 1


@pytest.mark.parametrize("is_general", [False, True])
@pytest.mark.parametrize(
    ("event", "is_known"),
    [
        (an_event(event_id="old"), False),
        (an_event(event_id="same", **after(hours=1)), False),
        (an_event(event_id="new", **after(hours=1, seconds=1)), True),
        (an_event(event_id="ret", status="RET"), True),
        (an_iys_event(event_id="iys", status="ONAY"), False),
        (an_iys_event(event_id="iys-ret", status="RET"), True),
    ],
    ids=lambda one: getattr(one, "event_id", ""),
)
def test_opt_ins_not_later_than_the_erasure_are_suppressed(
    state: MemoryState, event: ConsentEvent, *, is_known: bool, is_general: bool
) -> None:
    """Whoever they come from; they leave a count. Opt-outs always count."""
    effects = fold(state, event, is_general=is_general)
    assert (state.packed(KEY) is not None) is is_known
    assert effects.counts["suppressed"] == (not is_known)
    assert bool(effects.writes) is is_known


def test_opt_in_is_suppressed_behind_an_opt_out(state: MemoryState) -> None:
    """The opt-out made the key known again, and would lose to a newer opt-in."""
    ret = an_event(event_id="ret", status="RET")
    effects = fold(state, ret, an_event(event_id="old", **after(minutes=1)))
    assert effects.counts == {"Apply": 1, "opt-outs": 1, "suppressed": 1}


class UnreadableSuppressions(MemoryState):
    """A state on a disk that cannot read its suppressions."""

    def packed(self, key: bytes) -> bytes | None:
        """Return a row; raises StateError for a suppression."""
        if key == SUPPRESSION:
            raise StateError("the folder cannot be read")
        return super().packed(key)


@pytest.mark.parametrize("is_general", [False, True])
def test_state_that_cannot_be_read_is_no_fault_of_a_record(is_general: bool) -> None:
    """The partition is held back, and no opt-in becomes a dead letter for it."""
    state = UnreadableSuppressions()
    state.suppresses = True
    with pytest.raises(StateError):
        fold(state, an_event(), is_general=is_general)


def test_erasure_and_what_it_suppresses_may_be_in_one_batch() -> None:
    """The state does not have the suppression yet."""
    state = MemoryState()
    ret = an_event(event_id="ret", status="RET")
    effects = fold(state, ret, an_erasure(), an_event(event_id="old", **after(minutes=1)))
    assert effects.counts["suppressed"] == 1
    assert state.packed(KEY) is None


def test_repeated_erasure_spares_what_came_later(state: MemoryState) -> None:
    """Positions may be lost, and a lane be decided again."""
    fold(state, an_event(event_id="new", **after(hours=2)))
    effects = fold(state, an_erasure())
    (decision,) = HARNESS.written(effects, TOPICS.decisions.name, "Decision")
    assert decision["reason"] == "known-again"
    assert [one.topic for one in effects.writes] == [TOPICS.decisions.name]
    assert state.packed(KEY) is not None


def test_later_erasure_moves_the_suppression(state: MemoryState) -> None:
    """And an earlier one does not move it back."""
    fold(state, an_erasure(event_id="e2", **after(hours=2)))
    until = erased_until(state.packed(SUPPRESSION) or b"")
    fold(state, an_erasure(event_id="e3"))
    assert erased_until(state.packed(SUPPRESSION) or b"") == until


def test_erasure_without_a_secret_is_a_dead_letter() -> None:
    """No opt-out of its partition waits for a missing setting."""
    stage = OrderStage(topics=TOPICS, partitions=PARTITIONS, codec=CODEC)
    state = MemoryState()
    fold(state, an_event(status="RET"))
    effects = stage.fold(HOME, records_of(an_erasure(), topic=EXPRESS, key=KEY), state)
    assert effects.counts == {"dead:not-erasable": 1}
    assert effects.alarms
    assert not effects.changes


def test_erasure_in_the_wrong_partition_moves() -> None:
    """As any event does."""
    effects = HARNESS.fold([a_record(an_erasure(), key=b"any")], partition=HOME + 1)
    assert [one.partition for one in effects.repartitioned] == [HOME]


@pytest.mark.parametrize("bad", [{"recipient": "nobody"}, {"brand_code": 0}])
def test_erasure_without_a_readable_key_is_a_dead_letter(bad: dict[str, object]) -> None:
    """It erases nothing, and is reported."""
    effects = HARNESS.fold(records_of(an_erasure(**bad), topic=EXPRESS))
    assert effects.counts == {"dead:refused": 1}
    assert effects.alarms


@pytest.mark.interpreted
def test_failing_erasure_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its partition goes on."""
    monkeypatch.setattr("izin.streams.outputs.suppression", lambda _: 1 / 0)
    assert HARNESS.fold(records_of(an_erasure())).counts["dead:poison"] == 1


def test_damaged_erasure_is_a_dead_letter() -> None:
    """Only an opt-out takes effect in spite of bytes that are no text."""
    assert HARNESS.fold([a_spoilt("actor", status=ERASURE)]).counts == {"dead:undecodable": 1}


def test_suppression_outlives_its_secret(state: MemoryState) -> None:
    """A newer secret comes first; what was erased under an older one is known by that."""
    rotated = SuppressionKeys(["another fake secret of forty characters!", *_secrets()])
    stage = OrderStage(topics=TOPICS, partitions=PARTITIONS, codec=CODEC, suppressions=rotated)
    effects = stage.fold(HOME, records_of(an_event(event_id="old"), key=KEY), state)
    assert effects.counts == {"suppressed": 1}


def test_suppression_under_an_unknown_secret_is_not_read_back() -> None:
    """Else its key would come back unnoticed."""
    effects = fold(MemoryState(), an_erasure())
    row = next(one for one in effects.writes if one.key == SUPPRESSION)
    known = Changelog(0, HARNESS.settings, "group", CODEC, SUPPRESSIONS)
    packed = known._suppression(SUPPRESSION, row.value or b"", 7)
    assert erased_until(packed) == (NOON + timedelta(hours=1)).timestamp() * 1000
    unknown = Changelog(0, HARNESS.settings, "group", CODEC, SuppressionKeys(["x" * 70]))
    with pytest.raises(StateError, match=r"at 7 says .* IZIN_SUPPRESSION_SECRETS"):
        unknown._suppression(SUPPRESSION, row.value or b"", 7)


def test_cleared_state_has_no_suppression(state: MemoryState) -> None:
    """It is read back from the topic."""
    state.clear()
    assert not state.suppresses
    assert isinstance(state.packing, Packing)


def _secrets() -> list[str]:
    return [one.decode() for one in SUPPRESSIONS._secrets]


@pytest.mark.parametrize(
    ("recipient_type", "status", "is_said"),
    [("TACIR", "RET", True), ("TACIR", "ONAY", False), ("BIREYSEL", "RET", False)],
)
def test_erased_opt_out_of_a_merchant_is_said_to_the_gate(
    recipient_type: str, status: str, *, is_said: bool
) -> None:
    """By the suppression alone, once, in the transaction of the tombstone."""
    fields = {"recipient_type": recipient_type}
    key = a_key(**fields).encode()
    state = MemoryState()
    events = an_event(status=status, **fields), an_erasure(**fields)
    home = partition_of(key, PARTITIONS)
    records = [
        a_record(one, topic=EXPRESS, key=key, partition=home, offset=place)
        for place, one in enumerate(events)
    ]
    effects = HARNESS.stage.fold(home, records, state)
    topic = TOPICS.opted_out_merchants.name
    said = [(one.partition, one.key) for one in effects.writes if one.topic == topic]
    assert said == ([(0, SUPPRESSIONS.of(key))] if is_said else [])
    identities = [one.headers for one in effects.writes]
    assert len(set(identities)) == len(identities)


EVENT = an_event(status="RET", notice_version="2026-01")


def release(which: str) -> tuple[Contract, dict[str, object]]:
    """Return the event contract of an older or a newer release, and the event as it writes it."""
    schema, event = copy.deepcopy(contracts.current()["ConsentEvent"].schema), event_to_avro(EVENT)
    if which == "older":
        schema["fields"] = [one for one in schema["fields"] if one["name"] != "notice_version"]
        del event["notice_version"]
    else:
        field = {"name": "tomorrow", "type": ["null", "string"], "default": None}
        schema["fields"].insert(4, field)
        event["tomorrow"] = "a text"
    return contracts.contract("ConsentEvent", schema), event


def produced(
    which: str, monkeypatch: pytest.MonkeyPatch, ids: MemoryRegistry | None
) -> tuple[bytes, Contract]:
    """Return the event as a producer of another release writes it."""
    contract, event = release(which)
    with monkeypatch.context() as there:
        ours = contracts.current()
        there.setattr(contracts, "current", lambda: {**ours, "ConsentEvent": contract})
        return Codec(ids).encode("ConsentEvent", event), contract


def test_worker_reads_newer_schemas_from_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a registry a producer may be newer, where its schema was handed on."""
    value, contract = produced("newer", monkeypatch, None)
    name = f"ConsentEvent.{contract.fingerprint[::-1].hex()}.avsc"
    (tmp_path / name).write_text(json.dumps(contract.schema), encoding="utf-8")
    (tmp_path / "README.md").write_text("no schema", encoding="utf-8")
    writes = decided(value, codec(KafkaSettings(registry_url=None, schema_folder=tmp_path)))
    assert TOPICS.opt_outs.name in {topic for topic, _ in writes}


@pytest.mark.parametrize(
    ("content", "found"),
    [("{", "is no schema"), ('{"type": "record"}', "is no schema"), (None, "cannot be read")],
)
def test_unusable_schema_folder_raises(tmp_path: Path, content: str | None, found: str) -> None:
    """A worker does not start without what it is configured to read."""
    folder = tmp_path / "schemas"
    if content is not None:
        folder.mkdir()
        (folder / "ConsentEvent.1.avsc").write_text(content, encoding="utf-8")
    with pytest.raises(UnusableSchemaError, match=found):
        codec(KafkaSettings(registry_url=None, schema_folder=folder))


def decided(value: bytes, reader: Codec) -> list[tuple[str, dict[str, object]]]:
    """Return what a worker with `reader` writes of the record, by topic."""
    effects = OrderHarness(codec=reader).fold([fetched(value=value, partition=HOME)])
    names = {topic.name: topic.record for topic in TOPICS}
    return [(one.topic, reader.decode(names[one.topic], one.value)) for one in effects.writes]


@pytest.mark.parametrize("which", ["older", "newer"])
@pytest.mark.parametrize("framing", ["registry", "fingerprint"])
def test_opt_out_of_another_release_takes_effect(
    monkeypatch: pytest.MonkeyPatch, which: str, framing: str
) -> None:
    """Resolved into what this release knows: a row, an opt-out and a decision that all can read."""
    ids = MemoryRegistry() if framing == "registry" else None
    value, contract = produced(which, monkeypatch, ids)
    if ids is None:
        known = {**contracts.known(), contract.fingerprint: contract}
        monkeypatch.setattr(contracts, "known", lambda: known)
    writes = decided(value, Codec(ids))
    assert [topic for topic, _ in writes] == [
        TOPICS.desired_consents.name,
        TOPICS.opt_outs.name,
        TOPICS.decisions.name,
    ]
    expected = EVENT if which == "newer" else replace(EVENT, notice_version=None)
    found = writes[-1][1]["event"]
    assert found["notice_version"] == expected.notice_version
    assert (found["event_id"], found["status"]) == (expected.event_id, "RET")


def test_unknown_schema_is_dead_lettered_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is stored whole, under a reason that its producer can act on."""
    value, _ = produced("newer", monkeypatch, None)
    ((topic, letter),) = decided(value, CODEC)
    assert topic == TOPICS.dead_letters.name
    assert (letter["reason"], letter["value"]) == ("unknown-schema", value)
