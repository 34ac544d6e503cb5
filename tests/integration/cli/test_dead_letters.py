"""Dead letters are acknowledged by a person, with a reason, in the history of the ledger."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from izin.consent import violation
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.cli.conftest import Izin, ended, put_brand
from tests.support.builders import PHONE, a_dead_letter, an_event
from tests.support.published import produce
from tests.support.replay.dead_letters import a_letter_of

pytestmark = [pytest.mark.broker, pytest.mark.database]

H113 = violation("source", "H113")
ORIGINS = (("crm", "acme"), ("web", "beta"), ("crm", "acme"))
WHY = ("--reason", "corrected at the source, published again")


@pytest.fixture(autouse=True)
def letters(izin: Izin, topics: KafkaSettings, ledger: str) -> None:
    """Write two dead letters, and a ledger."""
    izin("doctor", "--fix")
    plant(topics, *(a_dead_letter(offset=number) for number in (1, 2)))


def plant(topics: KafkaSettings, *letters: Mapping[str, Any] | bytes) -> None:
    """Write dead letters."""
    values = (
        one if isinstance(one, bytes) else Codec().encode("DeadLetter", one) for one in letters
    )
    produce(topics, topics.topics.dead_letters.name, *values, partition=0)


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
    """Without --execute nothing happens; with it the doctor counts the other one alone."""
    named = ("dead-letters", "acknowledge", "0/0", *WHY, "--by", "ada")
    ended(izin(*named), 0, "would be acknowledged by ada")
    assert listed(izin) == {"0/0": None, "0/1": None}
    assert of_doctor(izin)[1].startswith("2 records")
    assert izin(*named, "--execute").exit_code == 0
    assert of_doctor(izin)[1].startswith("1 records")
    noted = listed(izin)["0/0"]
    assert (noted["by"], noted["reason"]) == ("ada", WHY[1])
    assert "by ada" in izin("dead-letters").stdout
    assert izin(*named, "--execute").exit_code == 3
    assert izin("dead-letters", "acknowledge", "--all", *WHY, "--execute").exit_code == 0
    assert of_doctor(izin) == ("ok", "none in the last 24 hours needs a person; 2 acknowledged")
    assert izin("ledger", "verify").exit_code == 0


def test_acknowledge_of_an_unknown_letter_changes_nothing(izin: Izin) -> None:
    """All that is named must exist; neither a name nor --all is wrong usage."""
    ended(izin("dead-letters", "acknowledge", "0/0", "0/9", *WHY, "--execute"), 3, "0/9")
    assert listed(izin)["0/0"] is None
    assert izin("dead-letters", "acknowledge", *WHY).exit_code == 2


def test_letters_without_a_ledger_are_listed(izin: Izin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who acknowledged which is not known then, which the list and the doctor say."""
    monkeypatch.delenv("DATABASE_URL")
    ended(izin("dead-letters"), 0, "DATABASE_URL")
    state, what = of_doctor(izin)
    assert (state, "the ledger cannot be read" in what) == ("wrong", True)


def test_list_is_filtered_and_ends_with_the_newest(izin: Izin, topics: KafkaSettings) -> None:
    """By what a letter says, and what its event says but for its customer, who is the brand's of
    today; a table has at most as many as asked for.
    """
    put_brand(topics, 100001)
    lane = topics.topics.events.name
    events = [an_event(origin=origin, customer_id=whose) for origin, whose in ORIGINS]
    plant(topics, *(a_letter_of(event, "refused", [H113], topic=lane) for event in events))
    for words, names in {
        (): ["0/0", "0/1", "0/2", "0/3", "0/4"],
        ("--because", "H113"): ["0/2", "0/3", "0/4"],
        ("--because", "undecodable"): ["0/0", "0/1"],
        ("--origin", "crm"): ["0/2", "0/4"],
        ("--customer", "acme", "--brand", "100001"): ["0/2", "0/3", "0/4"],
        ("--of-topic", lane): ["0/2", "0/3", "0/4"],
        ("--since", "2026-03-02"): ["0/2", "0/3", "0/4"],
        ("--until", "2026-03-02", "--limit", "1"): ["0/1"],
    }.items():
        shown = izin("dead-letters", "list", *words, "--output", "json")
        assert [one["letter"] for one in json.loads(shown.stdout)] == names, words
    assert izin("dead-letters", "list", "--customer", "beta").exit_code == 2
    shown = ended(izin("dead-letters", "list", "--limit", "2"), 0, "the newest 2 of 5")
    assert ("0/4" in shown.stdout, "0/2" in shown.stdout) == (True, False)
    ended(
        izin("dead-letters", "acknowledge", "--because", "H113", *WHY, "--execute"),
        0,
        "3 dead letters",
    )
    waiting = izin("dead-letters", "list", "--waiting", "--output", "json")
    assert [one["letter"] for one in json.loads(waiting.stdout)] == ["0/0", "0/1"]
    assert izin("dead-letters", "acknowledge", "0/1", "--because", "H113", *WHY).exit_code == 2


def test_letters_of_the_express_lane_are_first(izin: Izin, topics: KafkaSettings) -> None:
    """One of them may be an opt-out."""
    lanes = topics.topics.events.name, topics.topics.express.name
    plant(topics, *(a_letter_of(an_event(), "refused", [H113], topic=lane) for lane in lanes))
    shown = json.loads(izin("dead-letters", "list", "--output", "json").stdout)
    assert [one["letter"] for one in shown] == ["0/3", "0/0", "0/1", "0/2"]


def test_letter_is_shown_with_its_recipient_masked(izin: Izin, topics: KafkaSettings) -> None:
    """In English and Turkish, with where it was; --unmasked shows the person."""
    event = an_event(evidence={"ip": "192.0.2.7"}, origin_ref="+905550000001")
    plant(
        topics,
        a_letter_of(event, "refused", [H113], topic=topics.topics.events.name),
        b"junk",
        a_letter_of(event, "unmapped", [], topic="sources/shop"),
    )
    shown = ended(izin("dead-letters", "show", "0/2"), 0)
    for text in (
        H113.reason,
        H113.reason_tr,
        f"{topics.topics.events.name}/0/7",
        "ce_id",
        "event-1",
    ):
        assert text in " ".join(shown.stdout.split()), text
    assert (PHONE in shown.stdout, "192.0.2.7" in shown.stdout) == (False, False)
    whole = json.loads(izin("dead-letters", "show", "0/2", "--unmasked", "--output", "json").stdout)
    assert (whole["event"]["recipient"], whole["key"]) == (PHONE, f"100001/MESAJ/BIREYSEL/{PHONE}")
    assert whole["event"]["evidence"] == {"ip": "192.0.2.7"}
    other = " ".join(izin("dead-letters", "show", "0/3").stdout.split())
    assert "nothing of the record can be read" in other
    assert 'izin dead-letters acknowledge 0/3 --reason "…"' in other
    assert 'izin dead-letters redrive 0/2 --reason "…"' in whole["what_to_do"]
    unmapped = " ".join(izin("dead-letters", "show", "0/4").stdout.split())
    assert "izin sources test shop --letter 0/4" in unmapped
    assert "unreadable-letter" in izin("dead-letters", "list").stdout
    for name in ("0/9", "1/0", "x"):
        assert izin("dead-letters", "show", name).exit_code == 3
