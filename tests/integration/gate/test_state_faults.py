"""What the gate does not know, and whose keys that closes."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from izin.consent import RecipientType
from izin.gate import sources
from izin.gate.state import GateState
from izin.kafka.clients import TopicIdentities, admin, ensure_topics
from izin.kafka.follower import follower
from izin.runtime.errors import BrokerError, RegistryError
from izin.runtime.settings import KafkaSettings
from izin.runtime.unreadable import unreadable_batches
from izin.schemas.codec import Codec
from izin.schemas.contracts import Contract
from izin.schemas.erasure import SuppressionKeys
from tests.support.builders import NOON
from tests.support.hostile.batches import HOSTILE, RawProducer
from tests.support.published import (
    PARTITIONS,
    STALE_AFTER,
    GateTopics,
    a_permission,
    current,
    event_value,
    following,
    key_of,
    keys_in,
    says_yes,
    shown,
)

pytestmark = pytest.mark.broker

KEYS = [next(keys_in(number)) for number in range(PARTITIONS)]
"""A key of each partition."""
OTHERS = [next(keys_in(number, 500)) for number in range(PARTITIONS)]
ALL_CURRENT = dict.fromkeys(range(PARTITIONS), True)


@pytest.fixture
def topics(make_settings: Callable[[int], KafkaSettings]) -> GateTopics:
    """Return a writer of topics with a brand and a permission for each key."""
    found = GateTopics(make_settings(PARTITIONS))
    found.brand()
    found.permit(*KEYS, *OTHERS)
    return found


def test_lanes_are_read_from_where_the_order_stage_is(topics: GateTopics):
    """From their beginning where that is not known, or said of another topic: here an opt-out that
    was decided long ago closes its key, and not where the positions are beyond it.
    """
    for key in KEYS:
        topics.event(key)
    topics.decide(0)
    topics.decide(1, cluster_id="another")
    topics.event(OTHERS[0])
    with following(topics.settings) as state:
        closed = [state.of_key(one).opted_out for one in (*KEYS, OTHERS[0])]
        assert closed == [False, True, True, True]
        assert all(says_yes(state.of_key(one)) for one in OTHERS[1:])
        assert current(state) == ALL_CURRENT
        topics.decide(2)
        shown(lambda: says_yes(state.of_key(KEYS[2])))


def test_decisions_are_read_from_where_the_ledger_is(topics: GateTopics):
    """What it has taken is in its permissions; from the beginning where it says nothing of this
    topic. What comes later is read, too.
    """
    before, after = KEYS[0], OTHERS[0]
    topics.opt_out(before, at=NOON)
    topics.taken(*(topics.end(topics.topics.decisions, number) for number in range(PARTITIONS)))
    topics.opt_out(after, at=NOON)
    with following(topics.settings) as state:
        assert says_yes(state.of_key(before))
        assert state.of_key(after).opted_out
        topics.opt_out(KEYS[1], at=NOON)
        shown(lambda: state.of_key(KEYS[1]).opted_out)
    topics.taken(9, 9, 9, cluster_id="another")
    with following(topics.settings) as state:
        assert [state.of_key(one).opted_out for one in KEYS] == [True, True, False]


class RegistryAway(Codec):
    """A codec that cannot fetch the schema of one record, until ``is_away`` is reset."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self._value = value
        self.is_away = True

    def writer_of(self, data: bytes) -> Contract:
        """Return the contract of a permission."""
        self._fetch(data)
        return super().writer_of(data)

    def decode(self, record: str, data: bytes) -> dict[str, Any]:
        """Return a record."""
        self._fetch(data)
        return super().decode(record, data)

    def _fetch(self, data: bytes) -> None:
        if self.is_away and data.endswith(self._value):
            raise RegistryError("the registry is away")


def test_partition_that_cannot_be_read_closes_only_its_keys(
    topics: GateTopics, monkeypatch: pytest.MonkeyPatch
):
    """From the start on, and it is named; once it can be read, nothing is missing."""
    monkeypatch.setattr(follower, "_TIMEOUT", 2.0)
    late = next(keys_in(1, 900))
    value = topics.encode(topics.topics.permissions, a_permission(late))
    topics.raw(topics.topics.permissions, late.encode(), b"\0\0\0\0\7" + value[10:])
    topics.permit(after := next(keys_in(1, 950)))
    codec = RegistryAway(value[10:])
    with following(topics.settings, codec) as state:
        assert current(state) == {**ALL_CURRENT, 1: False}
        assert all(says_yes(state.of_key(one)) for one in (KEYS[0], KEYS[2]))
        ((topic, fault),) = state.faults().items()
        assert topic == topics.topics.permissions.name
        assert fault.startswith("partitions 1 were not seen read to their ends")
        topics.permit(next_one := next(keys_in(2, 950)))
        shown(lambda: says_yes(state.of_key(next_one)))
        assert not says_yes(state.of_key(after)), "what is behind is not read before"
        codec.is_away = False
        shown(lambda: current(state) == ALL_CURRENT and not state.faults())
        assert says_yes(state.of_key(after))


@pytest.mark.parametrize(
    "name",
    ["lz4 content checksum", "snappy short tail", "gzip two members", "plain offsets ahead"],
)
def test_lane_batch_that_cannot_be_unpacked_closes_the_gate(topics: GateTopics, name: str):
    """The gate starts without it, and says so; of what is behind the batch anything may be an
    opt-out of any key, so nobody is sent to. It is read once the order stage has decided beyond it,
    and no opt-out is left out.
    """
    express, behind = topics.topics.express, next(keys_in(1, 700))
    topics.permit(behind)
    opt_outs = [(one.encode(), event_value(one, "RET")) for one in (KEYS[1], *OTHERS[1:2], behind)]
    with RawProducer(topics.settings) as raw:
        raw.produce(express.name, 1, HOSTILE[name](opt_outs))
    topics.event(KEYS[2], partition=1)
    with following(topics.settings) as state:
        shown(lambda: current(state) == dict.fromkeys(range(PARTITIONS), False))
        assert says_yes(state.of_key(KEYS[2])), "nobody has read its opt-out"
        assert "partitions 1 were not seen read" in state.faults()[express.name]
        said = unreadable_batches(express.name)
        if name != "gzip two members":  # of which Kafka's client reads a part, and says nothing
            assert "the batch at offset 0 cannot be unpacked" in said[f"{express.name}[1]"]
        topics.event(KEYS[0])
        shown(lambda: state.of_key(KEYS[0]).opted_out)
        topics.decide(1)
        topics.event(KEYS[1])
        shown(lambda: current(state) == ALL_CURRENT)
        shown(lambda: state.of_key(KEYS[1]).opted_out)
        assert state.faults() == {}
        topics.decide(1)
        shown(lambda: says_yes(state.of_key(KEYS[1])))


def test_batch_of_permissions_that_cannot_be_unpacked_is_not_passed(topics: GateTopics):
    """Its partition is closed, from the start of the gate on or from then on; no other is."""
    name = topics.topics.permissions.name
    value = topics.encode(topics.topics.permissions, a_permission(KEYS[1]))
    batch = HOSTILE["lz4 content checksum"]([(KEYS[1].encode(), value)])
    with RawProducer(topics.settings) as raw:
        with following(topics.settings) as state:
            assert current(state) == ALL_CURRENT
            raw.produce(name, 1, batch)
            topics.permit(next(keys_in(1, 800)))
            shown(lambda: current(state) == {**ALL_CURRENT, 1: False})
            assert unreadable_batches(name).keys() == {f"{name}[1]"}
        with following(topics.settings) as state:
            shown(lambda: current(state) == {**ALL_CURRENT, 1: False})
            assert "docs/runbook.md" in unreadable_batches(name)[f"{name}[1]"]
            assert says_yes(state.of_key(KEYS[2]))


def test_open_transactions_close_their_partitions(topics: GateTopics):
    """What is behind one on an input topic was acknowledged, and is read all the same. On other
    topics it is not known, so the keys of the partition are closed until the transaction ends; an
    undecided opt-out closes its key until then too, for what follows from it may be in there.
    """
    express, permissions = topics.topics.express, topics.topics.permissions
    opt_in = event_value(OTHERS[1], "ONAY")
    void = topics.encode(permissions, a_permission(KEYS[2], may_send=False, reason="void"))
    with following(topics.settings) as state, ExitStack() as transactions:
        topics.event(KEYS[0])
        shown(lambda: state.of_key(KEYS[0]).opted_out)
        for topic, number, key, value in (
            (express, 1, OTHERS[1], opt_in),
            (permissions, 2, KEYS[2], void),
            (topics.topics.decisions, 0, KEYS[0], b"not read"),
        ):
            transactions.enter_context(topics.open_transaction(topic, number, key.encode(), value))
        topics.event(KEYS[1])
        topics.decide(0)
        shown(lambda: state.of_key(KEYS[1]).opted_out)
        shown(lambda: current(state) == {0: False, 1: True, 2: False})
        assert set(state.faults()) == {topics.topics.decisions.name, permissions.name}
        assert state.of_key(KEYS[0]).opted_out
        transactions.close()
        shown(lambda: current(state) == ALL_CURRENT)
        shown(lambda: says_yes(state.of_key(KEYS[0])))
        assert says_yes(state.of_key(KEYS[2])), "it was aborted"


def test_topic_that_is_another_closes_everything(
    topics: GateTopics, monkeypatch: pytest.MonkeyPatch
):
    """Its records are others at the same offsets. A restart reads them."""
    monkeypatch.setattr(sources, "_LOOKED_EVERY", 0.5)
    with following(topics.settings) as state:
        client = admin(topics.settings)
        for deleted in client.delete_topics([topics.topics.express.name]).values():
            deleted.result(10)
        ensure_topics(topics.settings)
        shown(lambda: "restart the gate" in state.faults().get("topics", ""))
        assert not any(current(state).values())


def test_topics_must_fit_together(monkeypatch: pytest.MonkeyPatch):
    """A key must have the same partition everywhere."""

    def unequal(_client: object, names: Sequence[str]) -> TopicIdentities:
        counts = {name: 5 if name == "permissions" else 3 for name in names}
        return TopicIdentities(cluster_id="", topic_ids=dict.fromkeys(names, ""), partitions=counts)

    monkeypatch.setattr(sources, "identities", unequal)
    with pytest.raises(BrokerError, match=r"permissions 5.*izin doctor"):
        following(KafkaSettings(bootstrap_servers="127.0.0.1:1")).__enter__()


def test_missing_topics_are_said(kafka: str, topic_prefix: str):
    """Nothing is answered from nothing, and nothing is created."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    with pytest.raises(BrokerError, match="Unknown topic"):
        following(settings).__enter__()


async def test_state_that_is_not_read_says_nothing(topics: GateTopics):
    """Stopped before it was read, the process ends at once."""
    state = GateState(topics.settings, Codec(), stale_after=STALE_AFTER)
    for step in ("before", "while it is stopped"):
        assert state.faults() == {"gate state": "being read"}, step
        assert not any(current(state).values())
        assert not await state.reached([], 0.01)
        assert state.positions() == []
        if step == "before":
            state.stop()
            state.following().__enter__()


def test_erased_merchant_who_had_opted_out_stays_closed(topics: GateTopics) -> None:
    """Until something newer is known; under a secret that the gate lacks, every unknown one is."""
    known, other = (replace(key_of(one), recipient_type=RecipientType.TACIR) for one in (1, 2))
    person = key_of(1)
    secrets = SuppressionKeys(["a secret of thirty-two characters"])
    merchants, foreign = topics.topics.opted_out_merchants, SuppressionKeys(["y" * 32])
    topics.raw(merchants, secrets.of(known.encode()), b"erased")
    with following(topics.settings, suppressions=secrets) as state:
        closed = [state.of_key(one).opted_out for one in (known, other, person)]
        assert closed == [True, False, False]
        assert state.of_key(known).reason == "register-first"
        topics.permit(known)
        shown(lambda: says_yes(state.of_key(known)))
        topics.raw(merchants, secrets.of(other.encode()), b"erased")
        shown(lambda: state.of_key(other).opted_out)
        assert state.faults() == {}
    with following(topics.settings, suppressions=foreign) as state:
        assert state.of_key(replace(key_of(3), recipient_type=RecipientType.TACIR)).opted_out
        assert "IZIN_SUPPRESSION_SECRETS" in state.faults()[merchants.name]
        assert not state.of_key(key_of(3)).opted_out
