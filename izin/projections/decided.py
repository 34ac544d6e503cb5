"""Which offsets of the input lanes are decided, as the order stage says in ``order-positions``, and
which decisions the ledger has taken, as it says in ``ledger-positions``.

An offset is of one topic of one cluster. A topic that was deleted and created again has the same
name and other records at the same offsets, so the ids of both are compared.
"""

from collections.abc import Iterable, Mapping

from izin.consent.errors import SourceError
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.consistency_token import LogPosition
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topics

UNDECIDED = -1
"""Where nothing is known to be decided."""


class ForeignTokenError(SourceError):
    """A token that names what is no input of this installation: topics, partitions or records."""


def lanes_of(topics: Topics) -> Mapping[str, str]:
    """Return how the fields of Positions about each input topic begin, by its name."""
    return {topics.events.name: "events", topics.express.name: "express"}


def decided_below(
    positions: AvroRecord | None, lane: str, topics: Topics, identities: TopicIdentities
) -> int:
    """Return the offset below which the order stage has decided a partition of the topic ``lane``,
    by the Avro Positions of it; UNDECIDED where they are missing, or of another topic.
    """
    field = lanes_of(topics)[lane]
    if (
        positions is None
        or positions["cluster_id"] != identities.cluster_id
        or positions[f"{field}_topic_id"] != identities.topic_ids[lane]
    ):
        return UNDECIDED
    return int(positions[f"{field}_offset"])


def taken_below(
    positions: AvroRecord | None, topics: Topics, identities: TopicIdentities
) -> Mapping[int, int]:
    """Return the offsets below which the ledger has taken the decisions of each partition, by the
    Avro LedgerPositions; empty where they are missing, or of another topic.
    """
    if (
        positions is None
        or positions["cluster_id"] != identities.cluster_id
        or positions["decisions_topic_id"] != identities.topic_ids[topics.decisions.name]
    ):
        return {}
    return dict(enumerate(positions["decisions_offsets"]))


def check_token(token: Iterable[LogPosition], topics: Topics, identities: TopicIdentities) -> None:
    """Check that ``token`` names partitions of the input topics.

    Raises:
        ForeignTokenError: it does not.
    """
    lanes = lanes_of(topics)
    for topic, partition, _ in token:
        if topic not in lanes or partition >= identities.partitions[topic]:
            raise ForeignTokenError
