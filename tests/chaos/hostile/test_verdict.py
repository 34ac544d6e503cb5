"""What the hostile campaign makes, accounts for and reports: each check finds what is wrong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from benchmarks.worker.probe import LatencySummary
from izin.consent import Status, decide
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.guard import DeadLetter, dead_letter_of, unreadable_batch
from izin.streams.outputs import BATCH_OFFSETS, REPARTITIONED
from tests.chaos.command import Pair
from tests.chaos.hostile.__main__ import HostileVerdict, report
from tests.chaos.hostile.records import (
    KINDS,
    RARE,
    Account,
    WrittenBatch,
    account,
    event_id,
    hostile_batch,
)
from tests.support.builders import a_decision_record, an_admitted_event, kafka_message
from tests.support.order.harness import fetched

SETTINGS = KafkaSettings()
TOPICS = SETTINGS.topics
BULK = TOPICS.events.name


def test_hostile_batch_is_the_same_for_the_same_seed() -> None:
    """What did harm can be made again, alone; every kind comes up."""
    made = [hostile_batch(3, number, 12) for number in range(400)]
    assert made[7] == hostile_batch(3, 7, 12) != hostile_batch(2, 7, 12)
    assert {one.kind for one in made} >= KINDS.keys() | RARE.keys()


def _account(decisions: Iterable[dict[str, Any]], letters: Iterable[dict[str, Any]]) -> Account:
    """Return the account of a batch of two records at offset 10, where these were written."""
    codec = Codec()
    topics = {
        TOPICS.decisions.name: [codec.encode("Decision", one) for one in decisions],
        TOPICS.dead_letters.name: [codec.encode("DeadLetter", one) for one in letters],
    }
    batch = WrittenBatch(number=5, kind="junk", topic=BULK, partition=0, first=10, count=2)
    return account(
        SETTINGS,
        [batch],
        read=lambda _, topic: [kafka_message(value=one) for one in topics[topic]],
    )


def _decision(index: int, status: Status, offset: int) -> dict[str, Any]:
    admitted = an_admitted_event(status=status, event_id=event_id(5, index))
    return a_decision_record(decide(None, admitted), topic=BULK, offset=offset)


def _letter(offset: int, reason: str = "undecodable", **headers: bytes) -> dict[str, Any]:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    record = fetched(offset=offset, headers=named)
    return dict(dead_letter_of(DeadLetter(reason=reason, violations=()), record))


def test_account_knows_letters_refusals_and_closed_keys() -> None:
    """By their offset; by their event where they were repartitioned."""
    found = _account([_decision(0, Status.RET, 99)], [_letter(11, "refused")])
    assert (found.wrong, found.fates["junk"]) == ([], {"key closed": 1, "refused": 1})


def test_account_knows_what_a_batch_and_its_parts_hold() -> None:
    """A dead letter of a batch stands for its offsets; one of a moved record for where it was."""
    whole = _letter(10, unreadable_batch.__name__, **{BATCH_OFFSETS: b"10-11"})
    assert _account([], [whole]).wrong == []
    moved = f"{BULK}/0/10".encode()
    assert len(_account([], [_letter(70, **{REPARTITIONED: moved})]).wrong) == 1


def test_account_finds_what_vanished_and_opt_ins_that_were_admitted() -> None:
    """A check that cannot fail says nothing."""
    found = _account([_decision(0, Status.ONAY, 10)], [])
    assert found.wrong == [
        f"batch 5, record 0 (junk) at ('{BULK}', 0, 10): opt-in admitted",
        f"batch 5, record 1 (junk) at ('{BULK}', 0, 11): nothing came of it",
    ]


def a_pair(without: float, beside: float) -> Pair:
    """Return a pair with these 99th percentiles, in milliseconds."""
    first, second = (
        LatencySummary(name="", probes=1, p50=0.0, p99=one, most=one) for one in (without, beside)
    )
    return Pair(without=first, beside=second)


@pytest.mark.parametrize(
    ("pairs", "share"),
    [
        ([a_pair(4, 50)], 100),
        ([a_pair(100, 150)], 75),
        ([a_pair(4, 50), a_pair(4, 75), a_pair(4, 500)], 150),
        ([], None),
    ],
    ids=["floor", "twice", "median", "none-came"],
)
def test_delay_is_the_median_of_its_limit(pairs: list[Pair], share: float | None) -> None:
    """The limit is twice the wait without hostile records, or 50 ms."""
    verdict = HostileVerdict(
        pairs=pairs,
        opt_outs=3,
        lost=1,
        records=2,
        account=Account(fates={}, wrong=["one"]),
        ends=[70],
    )
    found = report(verdict, seed=4, seconds=1)
    assert found.figures == {
        "hostile-records": 2,
        "hostile-delay": share,
        "hostile-lost": 1,
        "hostile-wrong": 1,
    }
    assert found.failures == ["the order worker ended with 70"]
    assert json.loads(json.dumps(dict(found.data)))["seed"] == 4
