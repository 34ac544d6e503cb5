"""Processes share subscribers evenly, and settle down."""

import random

import pytest

from izin.sinks.ledger.webhooks.deliveries import AssignedSubscriber, shares


def owned(*owners: str) -> list[AssignedSubscriber]:
    """Return subscribers with these owners; an empty one is nobody."""
    return [
        AssignedSubscriber(id=number, version=1, owner=one, epoch=1, is_owned=bool(one))
        for number, one in enumerate(owners)
    ]


@pytest.mark.parametrize(
    ("owners", "processes", "take", "give_back"),
    [
        ((), "a", (), ()),
        (("", ""), "a", (0, 1), ()),
        (("", "", ""), "ab", (0, 1), ()),
        (("a", "a", "a", "a"), "ab", (), (2, 3)),
        (("a", "a", "b"), "ab", (), ()),
        (("a", "a", "b", "b"), "abc", (), (1,)),
        (("a", "", ""), "ab", (1,), ()),
        (("a", "a", "a"), "a", (), ()),
    ],
)
def test_process_takes_its_part(
    owners: tuple[str, ...], processes: str, take: tuple[int, ...], give_back: tuple[int, ...]
) -> None:
    """Rounded up; what is free goes first, and the owner of more than its part gives back."""
    assert shares(owned(*owners), list(processes), "a") == ([*take], [*give_back])


@pytest.mark.parametrize("seed", range(20))
def test_shares_settle_and_leave_nobody_without(seed: int) -> None:
    """From any beginning, in a few rounds; then nothing moves any more."""
    chance = random.Random(seed)
    processes = ["a", "b", "c", "d"][: chance.randint(1, 4)]
    owners = [chance.choice([*processes, "", ""]) for _ in range(chance.randint(1, 15))]
    for _ in range(40):
        before = list(owners)
        for process in processes:
            take, give_back = shares(owned(*owners), processes, process)
            for number in give_back:
                owners[number] = ""
            for number in take:
                owners[number] = process
        if owners == before:
            break
    assert owners == before
    assert "" not in owners
    counts = [owners.count(one) for one in processes]
    assert max(counts) - min(counts) <= 1
