"""A correction is a new event in place of a dead letter, which names it as its cause."""

import json
from datetime import timedelta
from typing import Any

import pytest

from izin.consent.model import Status
from izin.consent.violations import Violation, violation
from tests.support.builders import BRAND, NOON, a_key, an_event
from tests.support.replay.letters import CODEC, LetterHarness, Run

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.usefixtures("worker", "brand")]

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def brand(letters: LetterHarness) -> None:
    """Publish a brand, so that producers know it."""
    value = {
        "brand_code": BRAND,
        "iys_code": BRAND,
        "customer_id": "acme",
        "name": "Örnek",
        "activated_at": None,
        "loading_deadline": None,
        "status": "active",
    }
    topic = letters.settings.topics.brands.name
    letters.writer.produce(topic, key=str(BRAND).encode(), value=CODEC.encode("Brand", value))
    assert letters.writer.flush(20) == 0


def corrected(izin: Run, name: str, *words: str) -> str:
    """Correct a letter; return the id of the new event."""
    done = izin("publish", "--corrects", name, *words, "--by", "ada", "--output", "json")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)
    return found["event_id"]


def of_event(letters: LetterHarness, event_id: str) -> dict[str, Any]:
    """Return the event that was decided under an id."""
    letters.await_decided()
    (found,) = [one for one in letters.decisions() if one["event"]["event_id"] == event_id]
    return found["event"] | {"effective_at": found["effective_at"]}


def test_correction_takes_from_the_letter_what_is_not_given(
    izin: Run, letters: LetterHarness
) -> None:
    """Its date unchanged, its evidence, and its event as the cause; explain shows who did it."""
    wrong = an_event(
        recipient=letters.person(),
        event_id="wrong",
        source=None,
        origin_ref="customer-9",
        evidence={"page": "signup"},
    )
    (name,) = letters.plant([letters.letter(wrong, "refused", [violation("source", "H113")])])
    event_id = corrected(izin, name, "--source", "HS_WEB")
    found = of_event(letters, event_id)
    assert (found["cause"], found["source"], found["status"]) == ("wrong", "HS_WEB", "ONAY")
    assert (found["consent_date"], found["effective_at"]) == (NOON, NOON)
    assert (found["origin_ref"], found["evidence"]) == ("customer-9", {"page": "signup"})
    shown = izin("dead-letters", "show", name).stdout
    assert f"corrected by event {event_id}" in shown
    key = str(a_key(recipient=wrong.recipient))
    words = " ".join(izin("explain", key, "--output", "json").stdout.split())
    assert '"act": "correct dead letter", "by": "ada"' in words
    assert f' {name}"' in words
    again = izin("publish", "--corrects", name, "--source", "HS_WEB", "--by", "ada")
    assert (again.exit_code, event_id in again.stderr) == (3, True)
    assert izin("publish", "--corrects", "0/99999", "--by", "ada").exit_code == 3
    assert izin("publish", "--corrects", "rubbish", "--by", "ada").exit_code == 3
    assert izin("publish", "--status", "RET").exit_code == 2


@pytest.mark.parametrize(
    ("fields", "faults", "words"),
    [
        ({"consent_date": NOON + 9 * HOUR}, [violation("consent_date", "H162")], ()),
        ({"consent_date": None}, [violation("consent_date", "H112")], ()),
        ({"consent_date": None, "recipient_type": "TACIR"}, [], ()),
        ({"consent_date": NOON + 4 * HOUR}, [], ()),
        ({"status": "RET"}, [violation("recipient", "H114")], ("--status", "ONAY")),
        ({"value": b"junk"}, [], ("--type=MESAJ", "--status=ONAY", "--source=HS_WEB")),
    ],
)
def test_correction_makes_no_date_of_a_consent_up(
    izin: Run,
    letters: LetterHarness,
    fields: dict[str, Any],
    faults: list[Violation],
    words: tuple[str, ...],
) -> None:
    """An ONAY's date is given, or that of an ONAY which was not refused for it."""
    value = {"value": fields["value"]} if "value" in fields else {}
    event = an_event(recipient=letters.person(), **({} if value else fields))
    (name,) = letters.plant([letters.letter(event, "refused", faults, **value)])
    given = (*words, f"--brand={BRAND}", "--recipient", event.recipient)
    done = izin("publish", "--corrects", name, *given, "--by", "ada")
    assert (done.exit_code, "--date" in done.stderr) == (3, True)
    event_id = corrected(izin, name, *given, "--date", "2026-03-02 15:00:00")
    found = of_event(letters, event_id)
    assert (found["status"], found["effective_at"]) == ("ONAY", NOON + 3 * HOUR)


def test_opt_out_without_a_readable_key_counts_from_its_receipt(
    izin: Run, letters: LetterHarness
) -> None:
    """Of bytes that nobody can read, the cause is an id of the letter's own, always the same."""
    people = letters.person(), letters.person()
    names = letters.plant(
        [
            letters.letter(an_event(recipient="5", status="RET", consent_date=None), "refused"),
            letters.letter(an_event(recipient=people[1]), "undecodable", value=b"junk"),
        ]
    )
    causes = []
    for name, person in zip(names, people, strict=True):
        given = ("--recipient", person, "--type=MESAJ", "--source=HS_WEB", "--status=RET")
        event_id = corrected(izin, name, f"--brand={BRAND}", *given)
        found = of_event(letters, event_id)
        assert found["effective_at"] == NOON + 3 * HOUR
        causes.append(found["cause"])
    assert causes[0] == "event-1"
    assert len(causes[1]) == 36
    rows = letters.rows()
    assert {rows[one].status for one in people} == {Status.RET}
