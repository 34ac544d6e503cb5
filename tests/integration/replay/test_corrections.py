"""A correction is a new event in place of a dead letter, which names it as its cause."""

import json
from datetime import timedelta

import pytest

from izin.consent import AdmittedEvent, Status, admit, violation
from izin.kafka import clients
from tests.integration.sinks.sink_harness import ended
from tests.support.builders import BRAND, NOON, a_key, an_event
from tests.support.order.verdict import committed_records
from tests.support.replay.dead_letters import CODEC, LetterHarness, Run, redrive

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.usefixtures("brand")]

HOUR = timedelta(hours=1)


def corrected(run: Run, name: str, *words: str) -> str:
    """Correct a letter; return the id of the new event."""
    done = ended(run("publish", "--corrects", name, *words, "--by", "ada", "--output", "json"), 0)
    (found,) = json.loads(done.stdout)
    return found["event_id"]


def of_event(letters: LetterHarness, event_id: str) -> AdmittedEvent:
    """Return the event that was published under an id, as the law admits it."""
    topics = letters.settings.topics
    (found,) = [
        admit(event, appended_at=NOON + 24 * HOUR)
        for lane in (topics.events.name, topics.express.name)
        for one in committed_records(letters.settings, lane)
        if (event := CODEC.decode_event(one.value() or b"")).event_id == event_id
    ]
    assert isinstance(found, AdmittedEvent)
    return found


def test_correction_takes_from_the_letter_what_is_not_given(
    run: Run, letters: LetterHarness
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
    event_id = corrected(run, name, "--source", "HS_WEB")
    found = of_event(letters, event_id)
    event = found.event
    assert (event.cause, event.source, event.status) == ("wrong", "HS_WEB", "ONAY")
    assert (event.consent_date, found.effective_at) == (NOON, NOON)
    assert (event.origin_ref, event.evidence) == ("customer-9", {"page": "signup"})
    shown = " ".join(run("dead-letters", "show", name).stdout.split())
    assert f"corrected by event {event_id}" in shown
    key = str(a_key(recipient=wrong.recipient))
    words = " ".join(run("explain", key, "--output", "json").stdout.split())
    assert '"act": "correct dead letter", "by": "ada"' in words
    assert f' {name}"' in words
    ended(run("publish", "--corrects", name, "--source", "HS_WEB", "--by", "ada"), 3, event_id)
    for words, code in (("--corrects=0/99999", 3), ("--corrects=rubbish", 3), ("--status=RET", 2)):
        assert run("publish", words, "--by", "ada").exit_code == code, words


def test_opt_out_without_a_readable_key_counts_from_its_receipt(
    run: Run, letters: LetterHarness
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
        found = of_event(letters, corrected(run, name, f"--brand={BRAND}", *given))
        assert (found.status, found.effective_at) == (Status.RET, NOON + 3 * HOUR)
        causes.append(found.event.cause)
    assert (causes[0], len(causes[1])) == ("event-1", 36)


def test_correction_of_what_nobody_can_read_names_what_it_lacks(
    run: Run, letters: LetterHarness
) -> None:
    """Whether it needs a date depends on its status, so that comes first."""
    event = an_event(recipient=letters.person())
    (name,) = letters.plant([letters.letter(event, "undecodable", value=b"junk")])
    ended(run("publish", "--corrects", name, "--by", "ada"), 3, "--status: no status is given")


def test_letter_that_waits_to_be_decided_is_not_written_again(
    run: Run, letters: LetterHarness
) -> None:
    """No order worker runs here: the next command waits for what the first has written."""
    topic = letters.settings.topics.events.name
    (name,) = letters.plant([letters.letter(an_event(recipient=letters.person()))])
    ends = sum(clients.committed_ends(letters.settings, topic).values())
    assert redrive(run, name, "--wait", "PT0S", "--execute")["waiting"] == [name]
    assert redrive(run, name)["unsettled"] == [name]
    assert redrive(run, name, "--wait", "PT0.2S", "--execute", code=1)["waiting"] == [name]
    assert sum(clients.committed_ends(letters.settings, topic).values()) == ends + 1
    shown = " ".join(run("dead-letters", "show", name).stdout.split())
    assert "what became of it is not known yet" in shown
