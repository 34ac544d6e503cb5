"""Positions of another topic or cluster say nothing: their offsets are of other records."""

from typing import Any

import pytest

from izin.kafka.clients import TopicIdentities
from izin.kafka.tables.latest_records import ForeignTokenError, check_token, taken_below
from izin.schemas.consistency_token import LogPosition
from izin.schemas.topics import Topics

TOPICS = Topics()
NAMES = [TOPICS.events.name, TOPICS.express.name, TOPICS.decisions.name]
IDENTITIES = TopicIdentities(
    cluster_id="cluster",
    topic_ids={name: f"id of {name}" for name in NAMES},
    partitions=dict.fromkeys(NAMES, 4),
)
POSITIONS: dict[str, Any] = {
    "cluster_id": "cluster",
    "decisions_topic_id": f"id of {TOPICS.decisions.name}",
    "decisions_offsets": [0, 101],
}


def test_ledger_says_how_far_it_is() -> None:
    """By partition; nothing where it has said nothing."""
    assert taken_below(POSITIONS, TOPICS, IDENTITIES) == {0: 0, 1: 101}
    assert taken_below(None, TOPICS, IDENTITIES) == {}


@pytest.mark.parametrize("name", ["cluster_id", "decisions_topic_id"])
def test_ledger_of_another_topic_does_not_count(name: str) -> None:
    """It was deleted and created again, and its offsets mean nothing."""
    assert taken_below(POSITIONS | {name: "other"}, TOPICS, IDENTITIES) == {}


@pytest.mark.parametrize(("topic", "partition"), [("other-consent-events", 0), (NAMES[0], 4)])
def test_token_of_another_installation_is_refused(topic: str, partition: int) -> None:
    """To wait for it would never end."""
    check_token([LogPosition(NAMES[0], 3, 1)], TOPICS, IDENTITIES)
    with pytest.raises(ForeignTokenError):
        check_token([LogPosition(topic, partition, 1)], TOPICS, IDENTITIES)
