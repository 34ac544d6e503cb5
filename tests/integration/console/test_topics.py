"""What commands say of topics that are not there."""

import pytest

from izin.console.read_topic import read_all
from izin.runtime.registry import codec
from izin.runtime.settings import KafkaSettings
from tests.integration.console.conftest import Izin

pytestmark = pytest.mark.broker


def test_a_topic_that_does_not_exist_is_told_with_its_cure(
    izin: Izin, broker: KafkaSettings
) -> None:
    """Nobody waits for the end of what has none."""
    told = izin("dead-letters")
    assert told.exit_code == 4
    name = broker.topics.dead_letters.name
    assert f"topic {name} does not exist; run: izin up" in told.stderr
    verified = izin("ledger", "verify")
    assert verified.exit_code == 4
    assert f"topic {broker.topics.anchors.name} does not exist" in verified.stderr


def test_a_topic_is_read_in_as_many_partitions_as_it_has(
    topics: KafkaSettings, izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong IZIN_PARTITIONS is the doctor's business, and no reason to wait for ever."""
    monkeypatch.setenv("IZIN_PARTITIONS", "7")
    wrong = KafkaSettings()
    assert list(read_all(wrong, codec(wrong), wrong.topics.consents)) == []
    assert izin("dead-letters", "--output", "json").stdout.strip() == "[]"
