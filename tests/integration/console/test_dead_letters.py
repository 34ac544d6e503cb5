"""Dead letters are acknowledged by a person, with a reason, in the history of the ledger."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.console.conftest import Izin
from tests.support.builders import a_dead_letter

pytestmark = [pytest.mark.broker, pytest.mark.database]

WHY = ("--reason", "corrected at the source, published again")


@pytest.fixture(autouse=True)
def letters(izin: Izin, topics: KafkaSettings, ledger: str) -> None:
    """Write two dead letters, and a ledger."""
    izin("doctor", "--fix")
    writer = producer(topics)
    for number in (1, 2):
        value = Codec().encode("DeadLetter", a_dead_letter(offset=number))
        writer.produce(topics.topics.dead_letters.name, value=value, partition=0)
    assert writer.flush(20) == 0


def of_doctor(izin: Izin) -> tuple[str, str]:
    """Return the state and the words of the doctor's finding about dead letters."""
    findings = json.loads(izin("doctor", "--output", "json").stdout)
    (found,) = (one for one in findings if one["check"] == "dead-letters")
    return found["state"], found["what"]


def listed(izin: Izin) -> Mapping[str, Any]:
    """Return the acknowledgement of each letter."""
    shown = izin("dead-letters", "--output", "json")
    return {one["letter"]: one["acknowledged"] for one in json.loads(shown.stdout)}


def test_acknowledged_letter_is_no_longer_reported(izin: Izin) -> None:
    """Without --yes nothing happens; with it the doctor counts the other one alone."""
    named = ("dead-letters", "acknowledge", "0/0", *WHY, "--by", "ada")
    shown = izin(*named)
    assert (shown.exit_code, "would be acknowledged by ada" in shown.stderr) == (0, True)
    assert listed(izin) == {"0/0": None, "0/1": None}
    assert of_doctor(izin)[1].startswith("2 records")
    assert izin(*named, "--yes").exit_code == 0
    assert of_doctor(izin)[1].startswith("1 records")
    assert listed(izin)["0/0"]["by"] == "ada"
    assert listed(izin)["0/0"]["reason"] == WHY[1]
    assert "by ada" in izin("dead-letters").stdout
    assert izin(*named, "--yes").exit_code == 3
    everything = ("dead-letters", "acknowledge", "--all", *WHY, "--yes")
    assert izin(*everything).exit_code == 0
    assert of_doctor(izin) == ("ok", "none in the last 24 hours needs a person; 2 acknowledged")
    assert izin("ledger", "verify").exit_code == 0


def test_acknowledge_of_an_unknown_letter_changes_nothing(izin: Izin) -> None:
    """All that is named must exist; neither a name nor --all is wrong usage."""
    shown = izin("dead-letters", "acknowledge", "0/0", "0/9", *WHY, "--yes")
    assert (shown.exit_code, "0/9" in shown.stderr) == (3, True)
    assert listed(izin)["0/0"] is None
    assert izin("dead-letters", "acknowledge", *WHY).exit_code == 2


def test_letters_without_a_ledger_are_listed(izin: Izin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who acknowledged which is not known then, which the list and the doctor say."""
    monkeypatch.delenv("DATABASE_URL")
    shown = izin("dead-letters")
    assert (shown.exit_code, "DATABASE_URL" in shown.stderr) == (0, True)
    state, what = of_doctor(izin)
    assert (state, "the ledger cannot be read" in what) == ("wrong", True)
