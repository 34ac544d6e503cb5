"""Reading a topic from beginning to end, and topics that are missing."""

import pytest

from izin.kafka.bounded_reader import read_all
from izin.runtime.kafka import codec
from izin.runtime.settings import KafkaSettings
from tests.integration.cli.conftest import Izin

pytestmark = pytest.mark.broker


def test_commands_for_a_missing_topic_name_the_remedy(izin: Izin, broker: KafkaSettings) -> None:
    """No command waits for the end of a topic that does not exist."""
    printed = izin("dead-letters")
    assert printed.exit_code == 4
    name = broker.topics.dead_letters.name
    assert f"topic {name} does not exist; run: izin up" in printed.stderr
    verified = izin("ledger", "verify")
    assert verified.exit_code == 4
    assert f"topic {broker.topics.anchors.name} does not exist" in verified.stderr


def test_read_all_reads_the_partitions_there_are(
    topics: KafkaSettings, izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong IZIN_PARTITIONS reading still ends; the doctor reports the setting."""
    monkeypatch.setenv("IZIN_PARTITIONS", "7")
    wrong = KafkaSettings()
    assert list(read_all(wrong, codec(wrong), wrong.topics.desired_consents)) == []
    assert izin("dead-letters", "--output", "json").stdout.strip() == "[]"
