"""Access lists are brought to what is wanted: by few calls, and by none that grants too much."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import ceil
from random import Random

from hypothesis import given, strategies as st

from izin.iys.retailer_calls import MAX_ACCESS
from izin.ledger.retailers import RetailerDifference
from izin.reconcile.retailer_access import ListChange, ListStep, changes_for, wanted_of

FIRST = 10_000_000
SOON = datetime(2026, 11, 2, tzinfo=UTC)
_codes = st.frozensets(st.integers(0, 6).map(lambda one: FIRST + one))
_long = st.integers(90, 310).map(lambda size: frozenset(range(FIRST, FIRST + size)))
_lists = st.one_of(_codes, _codes, _codes, _long)
_pairs = st.tuples(st.one_of(st.none(), _lists), _lists.filter(bool))


def a_difference(
    number: int, held: Iterable[int] | None, wanted: Iterable[int], *, channel: str = "MESAJ"
) -> RetailerDifference:
    """Return a consent that İYS ``held`` with some retailers, None: not known, and others are
    ``wanted``.
    """
    return RetailerDifference(
        key=f"100001/{channel}/BIREYSEL/+9055{number:08d}",
        event_id=str(number),
        registered_code=None,
        registered_access=None if held is None else sorted(held),
        desired_code=None,
        desired_access=sorted(wanted),
        since=SOON,
    )


def carried_out(
    lists: Mapping[str, frozenset[int]], changes: Iterable[ListChange]
) -> dict[str, frozenset[int]]:
    """Return the lists that İYS has after ``changes``, each within its limits."""
    found = dict(lists)
    for change in changes:
        assert len(change.keys) == len(change.group.recipients) <= MAX_ACCESS
        assert 1 <= len(change.retailers) <= MAX_ACCESS
        for key in change.keys:
            before = found[key]
            found[key] = {
                ListStep.REPLACE: change.retailers,
                ListStep.REMOVE: before - change.retailers,
                ListStep.ADD: before | change.retailers,
            }[change.kind]
            assert change.kind is not ListStep.ADD or len(change.keys) == 1
    return found


@given(st.lists(_pairs, max_size=12), st.data())
def test_lists_become_what_is_wanted_and_none_gets_more_meanwhile(
    pairs: list[tuple[frozenset[int] | None, frozenset[int]]], data: st.DataObject
):
    """Also where it is not known what İYS has; a retailer that nobody consented to gets nothing."""
    differences = [a_difference(number, *pair) for number, pair in enumerate(pairs)]
    lists = {
        one.key: data.draw(_codes) if pair[0] is None else pair[0]
        for one, pair in zip(differences, pairs, strict=True)
    }
    changes = changes_for(differences)
    wanted = {one.key: wanted_of(one) for one in differences}
    assert carried_out(lists, changes) == wanted
    for count in range(len(changes)):
        for key, codes in carried_out(lists, changes[:count]).items():
            assert codes <= lists[key] | wanted[key]


def test_consents_of_one_list_share_a_call_by_hundreds():
    """Whatever they had before; of each channel by itself."""
    random = Random(7)  # a fixed choice
    shops = range(FIRST, FIRST + 20)
    lists = [frozenset(random.sample(shops, 5)) for _ in range(4)]
    consents = [
        a_difference(
            number,
            random.sample(shops, 6),
            random.choice(lists),
            channel=random.choice(["MESAJ", "ARAMA"]),
        )
        for number in range(1000)
    ]
    groups: dict[tuple[str, frozenset[int]], int] = {}
    for one in consents:
        group = one.key.split("/")[1], wanted_of(one)
        groups[group] = groups.get(group, 0) + 1
    changes = changes_for(consents)
    assert len(changes) == sum(ceil(count / MAX_ACCESS) for count in groups.values())


def test_one_shop_that_closes_is_taken_from_a_hundred_lists_at_once():
    """Though each list is another one."""
    shops = frozenset(range(FIRST, FIRST + 200))
    consents = [
        a_difference(number, held := shops - {FIRST + number}, held - {FIRST + 199})
        for number in range(100)
    ]
    (change,) = changes_for(consents)
    assert (change.kind, change.retailers) == (ListStep.REMOVE, frozenset({FIRST + 199}))


def test_consent_that_only_loses_joins_a_call_that_has_room():
    """So it costs none of its own; one that has what is wanted needs no call."""
    both = frozenset({FIRST, FIRST + 1})
    gaining, losing = a_difference(1, [], both), a_difference(2, both | {FIRST + 2}, both)
    (change,) = changes_for([gaining, losing, a_difference(3, both, both)])
    assert (change.kind, change.keys) == (ListStep.REPLACE, (gaining.key, losing.key))
