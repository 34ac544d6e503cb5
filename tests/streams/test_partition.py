"""Taking, keeping and losing a partition, against a real broker."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from izin.consent.model import LAW_VERSION, Consent
from izin.consent.ordering import decide
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.streams.errors import StateError
from izin.streams.order import OrderStage
from izin.streams.ownership import changelog as changelog_module
from izin.streams.ownership import owned_partition as partition_module
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.effects import Effects, Refile, Write
from izin.streams.ownership.owned_partition import OwnedPartition
from izin.streams.ownership.positions import Connections
from izin.streams.state.state import MemoryState, State
from tests.streams.holding import TELLING, hold
from tests.streams.topic_reading import Source, committed_records
from tests.support.builders import a_claim, a_key, a_ret, an_event

KEY = b"100001/MESAJ/BIREYSEL/+905550000001"
ONAY = decide(None, a_claim()).consent
RET = decide(ONAY, a_ret()).consent


def an_onay(number: int) -> Consent:
    """Return the ONAY of another recipient."""
    return replace(ONAY, key=a_key(recipient=f"+90555000001{number}"))


class House:
    """One partition's topics, and whoever owns it."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self.settings = settings
        self.codec = codec
        self.events = settings.topics.events.name
        self.express = settings.topics.express.name
        self.consents = settings.topics.desired_consents.name
        self.opt_outs = settings.topics.opt_outs.name
        self._opened: list[Connections] = []

    def owner(self, state: State | None = None) -> OwnedPartition:
        """Return another owner of partition 0, as another worker would have it."""
        connections = Connections(self.settings, f"{self.settings.topic_prefix}group")
        self._opened.append(connections)
        return OwnedPartition(
            0,
            connections=connections,
            codec=self.codec,
            state=MemoryState() if state is None else state,
        )

    def effects(self, *consents: Consent) -> Effects:
        effects = Effects()
        for consent in consents:
            key, row = consent.key.encode(), self.codec.encode("Consent", consent_to_avro(consent))
            for topic in (self.consents, self.opt_outs):
                write = Write(topic=topic, partition=0, key=key, value=row, headers=[])
                effects.writes.append(write)
            effects.changes[key] = TELLING.pack(consent)
        return effects

    def write_row(self, value: bytes | None, *, key: bytes = KEY) -> None:
        producer = kafka.producer(self.settings)
        producer.produce(self.consents, value=value, key=key, partition=0)
        assert producer.flush(10) == 0

    def publish(self, count: int) -> None:
        producer = kafka.producer(self.settings)
        for number in range(count):
            event = event_to_avro(an_event(event_id=f"event-{number}"))
            value = self.codec.encode("ConsentEvent", event)
            producer.produce(self.events, value=value, partition=0)
        assert producer.flush(10) == 0

    def delete_below(self, topic: str, offset: int) -> None:
        admin, place = kafka.admin(self.settings), TopicPartition(topic, 0, offset)
        # The broker deletes nothing of a topic that is only compacted.
        both = ConfigEntry(
            "cleanup.policy",
            "compact,delete",
            incremental_operation=AlterConfigOpType.SET,
        )
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[both])
        admin.incremental_alter_configs([resource])[resource].result(10)
        admin.delete_records([place])[place].result(10)

    def end(self) -> int:
        return kafka.committed_ends(self.settings, self.consents)[0]

    def rows(self) -> int:
        return sum(1 for _ in committed_records(self.settings, self.consents))

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture
def house(make_settings: Callable[[int], KafkaSettings], codec: Codec) -> Iterator[House]:
    """Give topics of one partition, and close every owner's clients afterwards."""
    house = House(make_settings(1), codec)
    yield house
    house.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Give what the partition says critically or as a warning."""
    said: list[tuple[str, dict[str, Any]]] = []

    class Log:
        def critical(self, what: str, **about: object) -> None:
            said.append((what, about))

        warning = critical

    for module in (partition_module, changelog_module):
        monkeypatch.setattr(module, "_log", Log())
    return said


pytestmark = pytest.mark.broker


def test_a_commit_writes_rows_and_offset_and_changes_the_state(house: House) -> None:
    """All of a batch becomes visible together, and only then does the memory change."""
    owner = house.owner()
    owner.acquire()
    owner.commit(house.effects(ONAY), topic=house.events, next_offset=7)
    assert owner.state.get(KEY) == ONAY
    successor = house.owner()
    successor.acquire()
    assert successor.next_offsets == {house.events: 7, house.express: 0}
    assert successor.state.get(KEY) == ONAY


def test_helpings_of_a_batch_become_visible_together(house: House) -> None:
    """What was sent on its way before the rest was folded waits for the commit with it."""
    owner = house.owner()
    owner.acquire()
    effects = house.effects(ONAY)
    owner.write(effects)
    assert (effects.writes, house.rows(), owner.state.get(KEY)) == ([], 0, None)
    effects.writes.extend(house.effects(RET).writes)
    effects.changes[KEY] = TELLING.pack(RET)
    owner.commit(effects, topic=house.events, next_offset=2)
    begun = owner.state.position
    assert (house.rows(), owner.state.get(KEY)) == (2, RET)
    owner.acquire()
    assert owner.state.position >= begun
    assert owner.state.get(KEY) == RET


def test_taking_a_partition_fences_whoever_held_it(house: House) -> None:
    """The first owner's commit fails, nothing of it is visible, and its memory stays as it was."""
    first, second = house.owner(), house.owner()
    first.acquire()
    second.acquire()
    with pytest.raises(KafkaException):
        first.commit(house.effects(ONAY), topic=house.events, next_offset=3)
    assert first.state.get(KEY) is None
    assert house.rows() == 0
    second.commit(house.effects(ONAY), topic=house.events, next_offset=5)
    third = house.owner()
    third.acquire()
    assert third.next_offsets[house.events] == 5


def test_a_transaction_left_open_is_aborted_by_the_next_owner(house: House) -> None:
    """What a killed worker had written without committing is nowhere, and blocks nobody."""
    first, second = house.owner(), house.owner()
    first.acquire()
    assert first._producer is not None
    first._producer.begin_transaction()
    row = house.codec.encode("Consent", consent_to_avro(ONAY))
    first._producer.produce(house.consents, key=KEY, value=row, partition=0)
    first._producer.flush(10)
    second.acquire()
    second.commit(house.effects(ONAY), topic=house.events, next_offset=1)
    assert house.rows() == 1


def test_nothing_is_committed_on_a_partition_that_is_not_held(house: House) -> None:
    """Before it is taken, and after it is let go, a commit fails as a lost one does."""
    owner = house.owner()
    for _ in range(2):
        with pytest.raises(KafkaException):
            owner.commit(Effects(), topic=house.events, next_offset=1)
        owner.acquire()
        owner.release()


def test_a_state_that_was_kept_catches_up_by_the_difference(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coming back, an owner reads what others wrote meanwhile, and not what it had."""
    first = house.owner()
    first.acquire()
    first.commit(house.effects(ONAY), topic=house.events, next_offset=1)
    first.acquire()
    stood = first.state.position
    second = house.owner()
    second.acquire()
    other = an_onay(2)
    second.commit(house.effects(other), topic=house.events, next_offset=2)
    read: list[int] = []
    monkeypatch.setattr(
        Changelog,
        "_row",
        lambda self, value, offset, row=Changelog._row: (
            read.append(offset) or row(self, value, offset)
        ),
    )
    first.acquire()
    assert stood > 0
    assert read
    assert min(read) >= stood
    assert (first.state.get(KEY), first.state.get(other.key.encode())) == (ONAY, other)


def test_a_tombstone_forgets_its_key(house: House) -> None:
    """A key erased from the topic is erased from the state."""
    house.write_row(house.codec.encode("Consent", consent_to_avro(ONAY)))
    owner = house.owner()
    owner.acquire()
    held = owner.state.get(KEY)
    house.write_row(None)
    owner.acquire()
    assert (held, owner.state.get(KEY)) == (ONAY, None)


def test_a_coordinator_of_the_past_is_not_believed(house: House) -> None:
    """A broker that was frozen and woke answers with old offsets; they would be decided again."""
    first = house.owner()
    first.acquire()
    first.commit(Effects(), topic=house.events, next_offset=2)
    second = house.owner()
    real = second._connections.offsets
    lanes = [TopicPartition(topic, 0) for topic in (house.events, house.express, house.consents)]
    past = [real.committed(lanes, 10), real.committed(lanes, 10)]
    first.commit(Effects(), topic=house.events, next_offset=5)

    class Zombie:
        def committed(self, asked: Any, *args: Any) -> Any:  # noqa: ANN401  # the client is untyped
            return past.pop()[: len(asked)] if past else real.committed(asked, *args)

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the client has
            return getattr(real, name)

    second._connections.offsets = Zombie()
    second.acquire()
    assert not past
    assert second.next_offsets == {house.events: 5, house.express: 0}


def test_a_leader_of_the_past_is_not_believed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that was frozen and woke tells an old end; the state would lack what came after."""
    house.write_row(house.codec.encode("Consent", consent_to_avro(ONAY)))
    owner = house.owner()
    admin = owner._connections.admin
    real = admin.list_offsets

    def of_the_past(asked: Any, **keywords: Any) -> Any:  # noqa: ANN401  # the client is untyped
        return real(dict.fromkeys(asked, OffsetSpec.earliest()), **keywords)

    past = SimpleNamespace(
        list_offsets=of_the_past,
        describe_cluster=admin.describe_cluster,
        describe_topics=admin.describe_topics,
    )
    monkeypatch.setattr(owner._connections, "admin", past)
    owner.acquire()
    assert owner.state.get(KEY) == ONAY


def test_marks_are_seen_by_no_subscriber(house: House) -> None:
    """Whoever reads what is committed finds rows alone, however often a partition changed hands."""
    house.owner().acquire()
    house.owner().acquire()
    assert house.rows() == 0


def test_a_place_that_is_gone_means_reading_all_of_it(
    house: House, told: list[tuple[str, dict[str, Any]]]
) -> None:
    """Where the topic no longer has the state's place, what was held is forgotten and read anew."""
    row = house.codec.encode("Consent", consent_to_avro(ONAY))
    for number in range(6):
        house.write_row(row, key=f"key-{number}".encode())
    house.delete_below(house.consents, 4)
    state = MemoryState()
    hold(state, {b"long gone": ONAY}, 2)
    owner = house.owner(state)
    owner.acquire()
    assert state.get(b"long gone") is None
    assert (len(state), state.position) == (2, 8)
    assert [what for what, _ in told] == ["the state's place is gone; reading all of it"]


def test_a_state_ahead_of_its_topic_is_read_anew(
    house: House, told: list[tuple[str, dict[str, Any]]]
) -> None:
    """A topic shorter than what we have seen of it is another topic."""
    house.write_row(house.codec.encode("Consent", consent_to_avro(ONAY)))
    state = MemoryState()
    hold(state, {b"another house's": ONAY}, 900)
    house.owner(state).acquire()
    assert (state.get(b"another house's"), state.get(KEY)) == (None, ONAY)
    assert len(told) == 1


def test_records_that_retention_took_undecided_are_reported(
    house: House, told: list[tuple[str, dict[str, Any]]]
) -> None:
    """Loss cannot be undone, but it is never silent."""
    house.publish(10)
    first = house.owner()
    first.acquire()
    first.commit(Effects(), topic=house.events, next_offset=2)
    house.delete_below(house.events, 6)
    second = house.owner()
    second.acquire()
    assert second.next_offsets[house.events] == 6
    ((what, about),) = told
    assert "never decided" in what
    assert (about["committed"], about["earliest"]) == (2, 6)


@pytest.mark.parametrize("rubbish", [b"rubbish", b"\xc3\x01" + b"\x07" * 8])
def test_a_state_that_cannot_be_read_stops_the_worker(house: House, rubbish: bytes) -> None:
    """Whatever stands in the state topic and is no state of ours must not be guessed at."""
    house.write_row(rubbish)
    with pytest.raises(StateError):
        house.owner().acquire()


def test_a_newer_law_stops_an_older_release(house: House) -> None:
    """An old worker does not decide over the state of a law it does not know."""
    newer = replace(ONAY, law_version=LAW_VERSION + 1)
    house.write_row(house.codec.encode("Consent", consent_to_avro(newer)))
    with pytest.raises(StateError, match="newer release"):
        house.owner().acquire()


def test_a_refiled_record_arrives_where_its_key_belongs(
    make_settings: Callable[[int], KafkaSettings], codec: Codec
) -> None:
    """Outside the transaction, but before its offset: found elsewhere, decided at home."""
    settings = make_settings(3)
    house = House(settings, codec)
    owner = house.owner()
    owner.acquire()
    refile = Refile(topic=house.events, partition=2, key=KEY, value=b"value", headers=[("a", b"1")])
    owner.commit(Effects(refiles=[refile]), topic=house.events, next_offset=1)
    (arrived,) = [Source(one) for one in committed_records(settings, house.events)]
    assert (arrived.partition, arrived.key, arrived.value) == (2, KEY, b"value")
    house.close()


def test_what_cannot_be_refiled_keeps_its_offset_back(house: House) -> None:
    """A record that did not arrive elsewhere is not counted as decided."""
    owner = house.owner()
    owner.acquire()
    lost = Refile(topic=house.events, partition=0, key=KEY, value=b"x" * 2_000_000, headers=[])
    with pytest.raises(KafkaException):
        owner.commit(Effects(refiles=[lost]), topic=house.events, next_offset=1)
    successor = house.owner()
    successor.acquire()
    assert successor.next_offsets[house.events] == 0


def test_the_largest_record_the_fold_lets_through_can_be_written(house: House) -> None:
    """The limit of the fold lies below the broker's and the client's own."""
    stage = OrderStage(topics=house.settings.topics, partitions=1, codec=house.codec)
    event = an_event(evidence={"page": "x" * 890_000})
    value = house.codec.encode("ConsentEvent", event_to_avro(event))
    producer = kafka.producer(house.settings)
    producer.produce(house.events, value=value, partition=0)
    assert producer.flush(10) == 0
    (source,) = [Source(one) for one in committed_records(house.settings, house.events)]
    owner = house.owner()
    owner.acquire()
    effects = stage.fold(0, [source], owner.state)
    assert effects.counts["Apply"] == 1
    owner.commit(effects, topic=house.events, next_offset=1)
    assert house.rows() == 1
