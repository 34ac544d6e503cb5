"""Cursors: what a client keeps says where it was, and of which topic."""

from datetime import timedelta

import pytest

from izin.runtime.http_server.problems import RequestRefusedError
from izin.schemas.consistency_token import LogPosition, token_of
from izin.sinks.feeds.protocol import AWAY_FOR_AT_MOST, Cursor, LogIdentity, read_cursor
from tests.support.builders import NOON
from tests.unit.sinks.feeds.fakes import OPT_OUTS, PERMISSIONS

IDENTITY = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=3)
CURSOR = Cursor(offsets={0: 5, 1: 0, 2: 2**40}, complete_at=NOON, turn=2)
SNAPSHOT = Cursor(offsets={0: 1, 1: 0, 2: 0}, ends={0: 9, 1: 0, 2: 4}, complete_at=NOON)


@pytest.mark.parametrize("cursor", [CURSOR, SNAPSHOT])
@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_cursor_is_read_as_it_was_written(cursor: Cursor, feed: object) -> None:
    """As text, in the characters of a URL."""
    text = cursor.text(feed, IDENTITY)  # type: ignore[arg-type]
    assert read_cursor(text, feed, IDENTITY, NOON) == cursor  # type: ignore[arg-type]
    assert set("=+/&?# ").isdisjoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        CURSOR.text(PERMISSIONS, IDENTITY),
        CURSOR.text(OPT_OUTS, IDENTITY)[:-2],
        token_of([LogPosition("consent-events", 0, 1)]),
    ],
)
def test_other_texts_are_no_cursor(text: str) -> None:
    """Also one of another endpoint, or a consistency token."""
    with pytest.raises(RequestRefusedError, match="after is no cursor of this endpoint"):
        read_cursor(text, OPT_OUTS, IDENTITY, NOON)


@pytest.mark.parametrize("name", ["cluster_id", "topic_id"])
def test_cursor_of_another_topic_or_cluster_is_foreign(name: str) -> None:
    """The same offsets are other records there."""
    fields = {"cluster_id": "cluster", "topic_id": "topic", "partitions": 3} | {name: "other"}
    text = CURSOR.text(OPT_OUTS, IDENTITY)
    with pytest.raises(RequestRefusedError, match="is not the one that after is of"):
        read_cursor(text, OPT_OUTS, LogIdentity(**fields), NOON)  # type: ignore[arg-type]


def test_cursor_of_another_partition_count_is_refused() -> None:
    """Keys would be elsewhere."""
    more = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=4)
    with pytest.raises(RequestRefusedError, match="number of partitions"):
        read_cursor(CURSOR.text(OPT_OUTS, IDENTITY), OPT_OUTS, more, NOON)


def test_cursor_of_a_state_expires_before_tombstones_do() -> None:
    """A client of permissions that was away for longer may have missed a deletion."""
    text = CURSOR.text(PERMISSIONS, IDENTITY)
    at_last = NOON + AWAY_FOR_AT_MOST
    assert read_cursor(text, PERMISSIONS, IDENTITY, at_last) == CURSOR
    with pytest.raises(RequestRefusedError, match="begin a new snapshot"):
        read_cursor(text, PERMISSIONS, IDENTITY, at_last + timedelta(seconds=1))
    much_later = NOON + timedelta(days=80)
    log = CURSOR.text(OPT_OUTS, IDENTITY)
    assert read_cursor(log, OPT_OUTS, IDENTITY, much_later) == CURSOR


def test_cursor_with_an_impossible_instant_is_refused() -> None:
    """Whoever makes one up gets a refusal, and no error of ours."""
    made_up = Cursor(offsets={0: 0}, complete_at=NOON)
    identity = LogIdentity(cluster_id="c", topic_id="t", partitions=1)
    out = made_up.text(OPT_OUTS, identity)
    assert read_cursor(out, OPT_OUTS, identity, NOON) == made_up

    class FarAway:
        def timestamp(self) -> float:
            return 2.0**60

    impossible = Cursor(offsets={0: 0}, complete_at=FarAway())  # type: ignore[arg-type]
    with pytest.raises(RequestRefusedError, match="instant"):
        read_cursor(impossible.text(OPT_OUTS, identity), OPT_OUTS, identity, NOON)
