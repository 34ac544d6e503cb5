"""The checks of the webhook campaign: each finds what is wrong, and nothing else."""

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from benchmarks.webhooks.receiver import ReceivedWebhook
from tests.chaos.webhooks.__main__ import FailingSubscriber, WebhookVerdict, differences, report


def a_webhook(own: str, offset: int) -> ReceivedWebhook:
    """Return an event of one recipient."""
    data = {
        "brand_code": 100001,
        "type": "MESAJ",
        "recipient": "+905550000001",
        "topic": "t",
        "partition": 0,
        "offset": offset,
    }
    return ReceivedWebhook("/", {"webhook-id": own}, orjson.dumps({"data": data}), 0.0)


@pytest.mark.parametrize(
    ("came", "faults"),
    [
        ([("a", 1), ("b", 2)], []),
        ([("a", 1), ("a", 1), ("b", 2)], []),
        ([("a", 1)], ["('t', 0, 2) was never taken"]),
        ([("b", 2), ("a", 1)], ["1 came after 2"]),
        ([("a", 1), ("c", 1), ("b", 2)], ["('t', 0, 1) came as ['a', 'c']"]),
        ([("a", 1), ("b", 2), ("d", 3)], ["('t', 0, 3) was never written", "came as ['d']"]),
    ],
    ids=["as-written", "repeated", "lost", "out-of-order", "another-id", "never-written"],
)
def test_verdict_finds_what_is_wrong(came: list[tuple[str, int]], faults: list[str]) -> None:
    """A check that cannot fail says nothing."""
    subscriber = FailingSubscriber(Random(1), 0)
    for own, offset in came:
        subscriber(a_webhook(own, offset))
    found = differences(subscriber, {("t", 0, 1): "a", ("t", 0, 2): "b"})
    assert len(found) == len(faults)
    assert all(one in other for one, other in zip(faults, found, strict=True))


def test_failures_are_in_the_report() -> None:
    """By kind, in the table and in JSON."""
    verdict = WebhookVerdict(
        events=1, deliveries=1, repeated=0, failures=Counter({"late": 2}), unexplained=()
    )
    campaign: Any = SimpleNamespace(injected=Counter(), subscribers=1, seed=1)
    found = report(campaign, verdict, seconds=1)
    assert "2 × late" in found.tables
    assert orjson.loads(orjson.dumps(dict(found.data)))["failures"] == {"late": 2}


def test_verdict_finds_an_event_that_overtakes_a_refused_one() -> None:
    """The recipient's earlier event must be taken first."""
    subscriber = FailingSubscriber(Random(1), 1, share=1.0)
    subscriber.random.choice = lambda some: some[0]  # type: ignore[method-assign]
    subscriber(a_webhook("a", 1))
    subscriber(a_webhook("b", 2))
    assert subscriber.faults == ["('100001/MESAJ/+905550000001', 't'): 2 came before 1 was taken"]
