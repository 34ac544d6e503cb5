"""What the gate knows, from a real broker: whatever was acknowledged, decided or not."""

import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest

from izin.consent import Channel, ConsentKey, RecipientType, Status
from izin.consent.may_send import PermissionReason
from izin.gate.state import ForeignTokenError, GateState, Standing
from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from izin.schemas.consistency_token import LogPosition
from izin.schemas.partitioning import partition_of
from tests.support.builders import BRAND, CUSTOMER, NOON
from tests.support.published import (
    PARTITIONS,
    GateTopics,
    a_permission,
    following,
    key_of,
    says_yes,
    shown,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

LATER = NOON + timedelta(hours=1)
NUMBERS = count(1000, 10)


@pytest.fixture(scope="module")
def topics(kafka: str) -> GateTopics:
    """Return a writer of the topics of the gate that the tests of this module share."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"gate-{uuid4().hex[:8]}-", partitions=PARTITIONS
    )
    ensure_topics(settings)
    return GateTopics(settings)


@pytest.fixture(scope="module")
def state(topics: GateTopics) -> Iterator[GateState]:
    """Yield a state that follows, before which something was written."""
    topics.brand()
    topics.pulled(key_of(1), NOON)
    topics.permit(key_of(1), key_of(2), key_of(3), at=NOON)
    topics.deny(key_of(2), reason="void")
    topics.opt_out(key_of(3), at=LATER)
    topics.erase(key_of(4))
    with following(topics.settings) as one:
        yield one


@pytest.fixture
def key(topics: GateTopics, state: GateState) -> ConsentKey:
    """Return a key of its own that may be sent to."""
    one = key_of(next(NUMBERS))
    topics.permit(one, at=NOON)
    shown(lambda: says_yes(state.standing(one)))
    return one


def is_closed(state: GateState, key: ConsentKey) -> bool:
    """Whether an opt-out closes the key."""
    return state.standing(key).opted_out


def home(key: ConsentKey) -> int:
    """Return the partition of a key."""
    return partition_of(key.encode(), PARTITIONS)


def test_what_was_there_before_is_known(state: GateState):
    """The ledger's answers, opt-outs, brands and İYS's data; and everything is current."""
    yes, void, opted_out, erased = (state.standing(key_of(one)) for one in range(1, 5))
    assert yes == Standing(
        reason=PermissionReason.REGISTERED, opted_out=False, retailers=frozenset()
    )
    assert void.reason is PermissionReason.VOID
    assert opted_out.opted_out
    assert erased.reason is PermissionReason.NOT_REGISTERED
    brand = state.brand(BRAND)
    assert brand is not None
    assert (brand.customer_id, brand.status, brand.suspension) == (CUSTOMER, "active", None)
    assert (state.brand(1), list(state.brands())) == (None, [BRAND])
    assert state.iys_pulled_at(BRAND, Channel.MESAJ) == NOON
    assert state.iys_pulled_at(BRAND, Channel.ARAMA) is None
    assert state.faults() == {}
    assert all(state.is_current(one) for one in range(PARTITIONS))


def test_suspension_of_a_brand_is_followed(state: GateState, topics: GateTopics):
    """With the operator's reason, until it ends."""
    topics.brand(suspension="complaint 17")
    shown(lambda: getattr(state.brand(BRAND), "suspension", None) == "complaint 17")
    topics.brand()
    shown(lambda: getattr(state.brand(BRAND), "suspension", "") is None)


def test_recipient_types_are_keys_of_their_own(state: GateState, topics: GateTopics):
    """Whoever asks puts them together: of nothing known, the reason differs."""
    merchant = key_of(1, recipient_type=RecipientType.TACIR)
    assert state.standing(merchant).reason is PermissionReason.REGISTER_FIRST
    topics.event(merchant)
    shown(lambda: is_closed(state, merchant))
    assert says_yes(state.standing(key_of(1)))


@pytest.mark.parametrize("status", ["RET", " ret", "R\0et"])
def test_undecided_opt_out_closes(
    status: str, state: GateState, topics: GateTopics, key: ConsentKey
):
    """On either lane, however it is spelt, while the order stage does not run."""
    topics.event(key, status, lane=topics.topics.events)
    shown(lambda: is_closed(state, key), within=2)
    assert state.counts().undecided >= 1


def test_applied_opt_out_stays_when_released(state: GateState, topics: GateTopics, key: ConsentKey):
    """Until a consent that is newer: the ledger that is behind it opens nothing."""
    topics.event(key)
    shown(lambda: is_closed(state, key))
    before = state.counts().undecided
    topics.opt_out(key, at=LATER)
    topics.decide(home(key))
    shown(lambda: state.counts().undecided < before)
    assert is_closed(state, key)
    for reason in ("register-first", "not-registered", "opted-out"):
        topics.deny(key, reason=reason)
        shown(lambda reason=reason: state.standing(key).reason == reason)  # type: ignore[misc]
        assert is_closed(state, key)
    topics.permit(key, at=NOON)
    topics.permit(last := key_of(next(NUMBERS)))
    shown(lambda: says_yes(state.standing(last)) and not says_yes(state.standing(key)))
    topics.permit(key, at=LATER + timedelta(seconds=1))
    shown(lambda: says_yes(state.standing(key)))


def test_stale_opt_out_is_released(state: GateState, topics: GateTopics, key: ConsentKey):
    """It is older than the consent that İYS holds: the key is as it was."""
    topics.event(key)
    shown(lambda: is_closed(state, key))
    topics.decision(key, at=NOON - timedelta(hours=1), after=NOON)
    topics.decide(home(key))
    shown(lambda: says_yes(state.standing(key)))


def test_opt_out_behind_a_newer_opt_in_closes(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """The order stage found it stale, for an opt-in overtook it; but İYS holds an older consent."""
    topics.event(key, consent_date=LATER, received_at=LATER)
    shown(lambda: is_closed(state, key))
    newest = LATER + timedelta(hours=1)
    topics.decision(key, Status.ONAY, at=newest, after=NOON)
    topics.decision(key, at=LATER, after=newest)
    before = state.counts().undecided
    topics.decide(home(key))
    shown(lambda: state.counts().undecided < before)
    assert is_closed(state, key)
    topics.permit(key, at=newest)
    shown(lambda: says_yes(state.standing(key)))


def test_repartitioned_opt_out_never_opens(state: GateState, topics: GateTopics, key: ConsentKey):
    """A producer keyed it its own way: the record is written again before its place is passed, and
    closes the key until it is decided there.
    """
    stray = (home(key) + 1) % PARTITIONS
    topics.event(key, partition=stray)
    shown(lambda: is_closed(state, key))
    topics.decide(home(key))
    time_passes(state, home(key))
    assert is_closed(state, key), "it is decided on the partition where it is"
    topics.event(key)
    topics.decide(stray)
    time_passes(state, stray)
    assert is_closed(state, key)
    topics.decide(home(key))
    shown(lambda: not is_closed(state, key))


def time_passes(state: GateState, partition: int) -> None:
    """Return once the followed topics were seen read to ends asked for after now."""
    now = time.monotonic()
    keyed = state._keyed
    shown(lambda: all(one.complete_at(partition) > now for one in keyed))
    shown(lambda: state._positions is not None and state._positions.fault is None)


def test_erased_key_is_unknown_but_for_its_opt_out(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """A tombstone removes what the ledger said, and never an opt-out."""
    other = key_of(next(NUMBERS))
    topics.opt_out(other, at=NOON)
    shown(lambda: is_closed(state, other))
    topics.deny(other, reason="awaiting-iys")
    shown(lambda: state.standing(other).reason == "awaiting-iys")
    for one in (key, other):
        topics.erase(one)
    shown(lambda: state.standing(key).reason == "not-registered")
    shown(lambda: is_closed(state, other))


def test_retailers_come_with_the_permission(state: GateState, topics: GateTopics, key: ConsentKey):
    """And go with it."""
    topics.write(
        topics.topics.permissions, [(key, a_permission(key, retailers="66438915,66438916"))]
    )
    shown(lambda: state.standing(key).retailers == {66438915, 66438916})
    topics.permit(key)
    shown(lambda: state.standing(key).retailers == frozenset())


def test_unreadable_permission_closes_its_key(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """It may be a no; and so may a reason of a later release."""
    topics.raw(topics.topics.permissions, key.encode(), b"{}")
    shown(lambda: state.standing(key).reason is PermissionReason.STALE)
    topics.deny(key, reason="later-reason")
    topics.permit(key)
    shown(lambda: says_yes(state.standing(key)))
    topics.raw(topics.topics.decisions, key.encode(), b"{}")
    topics.raw(topics.topics.decisions, (last := key_of(next(NUMBERS))).encode(), b"RET")
    shown(lambda: is_closed(state, last))
    assert says_yes(state.standing(key)), "no opt-out is without the word"
    topics.raw(topics.topics.decisions, key.encode(), b"{RET}")
    shown(lambda: is_closed(state, key))


async def test_token_is_reached_once_the_lanes_are_read(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """What it names is known by then; of more it is not said, and a foreign one is refused."""
    topic, partition, offset = topics.event(key)
    token = [LogPosition(topic, partition, offset)]
    assert await state.reached(token, 10)
    assert is_closed(state, key)
    assert token[0] in state.positions([partition])
    assert not await state.reached([LogPosition(topic, partition, offset + 1)], 0.05)
    for foreign in (("other", 0, 1), (topic, PARTITIONS, 1)):
        with pytest.raises(ForeignTokenError):
            await state.reached([LogPosition(*foreign)], 1)
