"""Dead letters come back through admission: old ones win over nothing newer, each lands once.

Decisions that the ledger could not take are written again; admission would find them decided.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from izin.cli.terminal.ledger_session import open_ledger
from izin.consent import ConsentEvent, Status, decide
from izin.replay.dead_letters.outcomes import RedriveOutcome
from izin.replay.dead_letters.reading import DeadLetterSelection
from izin.replay.dead_letters.redrive import Redriver, RedriveStatement
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.erasure import ERASURE
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.outputs import REPARTITIONED
from tests.integration.sinks.sink_harness import ended
from tests.support.builders import (
    NOON,
    a_decision_record,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
)
from tests.support.order.harness import SUPPRESSIONS
from tests.support.replay.dead_letters import (
    APPENDED,
    CODEC,
    WHY,
    LetterHarness,
    Run,
    ingesting,
    redrive,
)

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.usefixtures("worker")]

HOUR = timedelta(hours=1)
ROOT = Path(__file__).parents[3]


def an_opt_in(recipient: str, **fields: object) -> ConsentEvent:
    """Return an ONAY of a person, with an id of its own."""
    return an_event(**{"recipient": recipient, "event_id": f"onay-{recipient}"} | fields)


def an_opt_out(recipient: str, **fields: object) -> ConsentEvent:
    """Return a RET of a person, by default an hour later."""
    given = {
        "recipient": recipient,
        "event_id": f"ret-{recipient}",
        "status": "RET",
        "consent_date": NOON + HOUR,
        "received_at": NOON + HOUR,
    }
    return an_event(**given | fields)


def test_letters_of_each_reason_land_once_repaired(run: Run, letters: LetterHarness) -> None:
    """The record has its bytes, key, id and first append; what it says is decided as of then."""
    reasons = ("undecodable", "unknown-schema", "poison", "repartitioned-twice", "refused")
    people = {reason: letters.person() for reason in reasons}
    marks = [(REPARTITIONED, b"consent-events/0/1"), (APPENDED_AT, str(APPENDED - 5000).encode())]
    planted = [
        letters.letter(
            an_opt_in(person, origin="each"),
            reason,
            **({"headers": [("ce_id", b"id"), *marks]} if reason == "repartitioned-twice" else {}),
        )
        for reason, person in people.items()
    ]
    names = letters.plant(planted)
    assert redrive(run, "--origin", "each")["preview"] == {"applied": 5}
    assert letters.redriven("each") == []
    done = redrive(run, "--origin", "each", "--execute")
    assert (done["result"], done["differences"]) == ({"applied": 5}, [])
    rows = letters.rows()
    found = {(rows[one].status, rows[one].effective_at) for one in people.values()}
    assert found == {(Status.ONAY, NOON)}
    came = {dict(one.headers())["izin-redriven"].decode(): one for one in letters.redriven("each")}
    assert came.keys() == set(names)
    for name, letter in zip(names, planted, strict=True):
        record, headers = came[name], dict(came[name].headers())
        assert (record.value(), record.key()) == (letter["value"], letter["key"])
        first = APPENDED - 5000 if letter["reason"] == "repartitioned-twice" else APPENDED
        assert headers[APPENDED_AT] == str(first).encode()
        assert record.headers()[-1][0] == APPENDED_AT
        assert headers["ce_id"] in {b"id", record.headers()[0][1]}
    assert redrive(run, "--origin", "each")["acknowledged"] == 5


def test_erasure_that_had_no_secret_erases(run: Run, letters: LetterHarness) -> None:
    """It is decided as of its first append: what came later is known again, and stays."""
    gone, back = letters.person(), letters.person()
    letters.publish(
        an_opt_in(gone), an_opt_in(back, consent_date=NOON + 4 * HOUR, received_at=None)
    )
    erasures = [
        an_event(
            recipient=person,
            event_id=f"erase-{person}",
            status=ERASURE,
            source=None,
            consent_date=None,
            received_at=NOON + 2 * HOUR,
            origin="izin-privacy",
        )
        for person in (gone, back)
    ]
    express = letters.settings.topics.express.name
    names = letters.plant(letters.letter(one, "not-erasable", topic=express) for one in erasures)
    assert redrive(run, *names)["preview"] == {"erased": 2}
    assert redrive(run, *names, "--execute")["result"] == {"erased": 2}
    assert letters.desired(gone) is None
    assert letters.desired(back) is not None
    (name,) = letters.plant([letters.letter(an_opt_in(gone, event_id="old"))])
    assert redrive(run, name, "--execute")["result"] == {"suppressed": 1}
    assert letters.desired(gone) is None


def test_old_letters_win_over_nothing_newer(run: Run, letters: LetterHarness) -> None:
    """Not over an opt-out that came since, nor as of now where they have no date; two letters of a
    key are decided as the preview says.
    """
    behind, undated, both = (letters.person() for _ in range(3))
    merchant = {"recipient_type": "TACIR", "source": None, "consent_date": None}
    letters.publish(
        an_opt_out(behind),
        an_opt_out(undated, recipient_type="TACIR", consent_date=NOON + 4 * HOUR, received_at=None),
    )
    planted = [
        an_opt_in(behind),
        an_opt_in(undated, **merchant, received_at=NOON + 9 * HOUR),
        an_opt_in(both),
        an_opt_out(both),
        an_opt_out(behind, event_id="older", consent_date=NOON - HOUR),
    ]
    names = letters.plant(map(letters.letter, planted))
    expected = {"applied": 1, "stale": 4}
    assert redrive(run, *names)["preview"] == expected
    done = redrive(run, *names, "--execute")
    assert (done["result"], done["differences"]) == (expected, [])
    rows = letters.rows()
    found = {(rows[one].status, rows[one].effective_at) for one in (behind, both)}
    assert found == {(Status.RET, NOON + HOUR)}
    stale = {
        one["event"]["event_id"]: one["effective_at"]
        for one in letters.decisions()
        if one["kind"] == "Stale"
    }
    assert stale[f"onay-{undated}"] == NOON + 3 * HOUR
    lanes = [
        one.topic() for one in letters.redriven("web") if dict(one.headers())["ce_id"] == b"older"
    ]
    assert lanes == [letters.settings.topics.express.name]


def test_letters_still_refused_stay_unless_they_are_meant(run: Run, letters: LetterHarness) -> None:
    """The preview names the codes; with --refused each becomes a new letter that needs a person."""
    future = an_opt_in(letters.person(), consent_date=NOON + 9 * HOUR)
    names = letters.plant(
        [
            letters.letter(future, "refused"),
            letters.letter(future, "undecodable", value=b"junk", offset=8),
        ]
    )
    assert redrive(run, *names)["refused"] == [
        {"letter": names[0], "codes": ["H162"]},
        {"letter": names[1], "codes": ["IZIN-UNDECODABLE"]},
    ]
    assert redrive(run, *names, "--execute", code=1)["left"] == 2
    done = redrive(run, *names, "--refused", "--execute")
    assert (done["result"], done["differences"]) == ({"refused": 2}, [])
    shown = " ".join(run("dead-letters", "show", names[0]).stdout.split())
    assert "redriven to" in shown
    assert "the fault is repaired (by ada" in shown
    waiting = ("dead-letters", "list", "--waiting", "--because", "H162", "--output", "json")
    (again,) = json.loads(run(*waiting).stdout)
    assert again["letter"] not in names


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"value": b"x" * 70_000}, "only the first 65536 bytes"),
        ({"value": None}, "a tombstone is no event"),
        ({"topic": "of-another-installation"}, "nor decisions of this installation"),
        ({"topic": "{prefix}gate-receipts"}, "neither events nor decisions"),
    ],
)
def test_letter_that_cannot_be_redriven_says_why(
    run: Run, letters: LetterHarness, fields: dict[str, Any], why: str
) -> None:
    """By name it is refused with its remedy; among others it is counted, and left."""
    prefix, event = letters.settings.topic_prefix, an_opt_in(letters.person(), origin=why)
    if "topic" in fields:
        fields = {"topic": fields["topic"].format(prefix=prefix)}
    (name,) = letters.plant([letters.letter(event, why, **fields)])
    ended(run("dead-letters", "redrive", name, "--reason", "seen", "--execute"), 3, why)
    found = redrive(run, "--because", why, "--execute", code=1)
    assert [one["letter"] for one in found["obstacles"]] == [name]
    assert found["result"] == {}


async def test_what_came_meanwhile_is_named(letters: LetterHarness, shared_ledger: str) -> None:
    """A newer event that is decided after the preview makes the difference, and is named."""
    overtaken, repeated = letters.person(), letters.person()
    names = letters.plant(map(letters.letter, (an_opt_in(overtaken), an_opt_in(repeated))))
    how = RedriveStatement(by="ada", reason="repaired", wait=timedelta(seconds=30))
    async with open_ledger(LedgerSettings(database_url=SecretStr(shared_ledger))) as ledger:
        redriver = Redriver(
            ledger=ledger,
            settings=letters.settings,
            codec=CODEC,
            suppressions=SUPPRESSIONS,
            clock=lambda: datetime.now(UTC),
        )
        preview = await redriver.preview(DeadLetterSelection(names=frozenset(names)))
        newer = an_opt_out(overtaken)
        await asyncio.to_thread(letters.publish, newer, an_opt_in(repeated))
        report = await redriver.execute(preview, how)
    assert report.expected == {RedriveOutcome.APPLIED: 2}
    assert report.became == {RedriveOutcome.STALE: 1, RedriveOutcome.DUPLICATE: 1}
    why = {one.letter.name: one.redrive.detail for one in report.differences}
    assert why[names[0]].startswith(f"event {newer.event_id} of ")
    assert letters.applied()[f"onay-{repeated}"] == 1


def test_letter_redriven_before_is_not_redriven_again(run: Run, letters: LetterHarness) -> None:
    """Unless --again is said; then the law finds its event decided."""
    (name,) = letters.plant([letters.letter(an_opt_in(letters.person()))])
    assert redrive(run, name, "--execute")["result"] == {"applied": 1}
    ended(run("dead-letters", "redrive", name, "--reason", "again"), 3, "--again")
    done = redrive(run, name, "--again", "--execute")
    assert (done["preview"], done["result"]) == ({"duplicate": 1}, {"duplicate": 1})
    for words, code in ((["0/999999"], 3), ([], 2), ([name, "--all"], 2)):
        assert run("dead-letters", "redrive", *words, "--reason", "x").exit_code == code, words
    assert run("ledger", "verify").exit_code == 0


@pytest.mark.parametrize("moment", ["before it is noted", "before its result is noted"])
def test_killed_redrive_is_run_again_and_lands_once(
    run: Run, letters: LetterHarness, moment: str
) -> None:
    """Kill -9 after the records were written, and after they were decided: the same end."""
    people = [letters.person() for _ in range(40)]
    planted = [
        event
        for person in people
        for event in (an_opt_in(person, origin=moment), an_opt_out(person, origin=moment))
    ]
    letters.plant(map(letters.letter, planted))
    words = ("dead-letters", "redrive", "--origin", moment, *WHY, "--execute")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.replay.killed", moment, *words],
        cwd=ROOT,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = redrive(run, "--origin", moment, "--execute")
    assert sum(done["result"].values()) == 80
    assert not done["differences"]
    assert redrive(run, "--origin", moment)["acknowledged"] == 80
    letters.await_decided()
    applied = letters.applied()
    assert {applied[f"ret-{person}"] for person in people} == {1}
    assert max(applied[f"onay-{person}"] for person in people) <= 1
    rows = letters.rows()
    assert {rows[person].status for person in people} == {Status.RET}


EVERYTHING = DeadLetterSelection()
KEY = a_key().encode()


async def test_decisions_are_taken_once_the_ledger_can(
    make_settings: Callable[[int], KafkaSettings], ledger_url: str
) -> None:
    """What is readable is recorded, once; what is not is refused again; the newest stands."""
    settings = make_settings(1)
    letters, topic = LetterHarness(settings), settings.topics.decisions.name
    opt_in = an_admitted_event()
    opt_out = a_ret(event_id="event-2")
    onay = decide(None, opt_in)
    ret = decide(onay.consent, opt_out)
    values = [
        CODEC.encode("Decision", a_decision_record(ret, topic="consent-events", offset=2)),
        CODEC.encode("Decision", a_decision_record(onay, topic="consent-events", offset=1)),
        b"junk",
    ]
    names = letters.plant(
        letters.letter(opt_in.event, topic=topic, partition=0, offset=place, value=value, key=KEY)
        for place, value in enumerate(values)
    )
    how = RedriveStatement(
        by="ada", reason="repaired", wait=timedelta(seconds=30), refused_too=True
    )
    async with open_ledger(LedgerSettings(database_url=SecretStr(ledger_url))) as ledger:
        redriver = Redriver(
            ledger=ledger,
            settings=settings,
            codec=CODEC,
            suppressions=SUPPRESSIONS,
            clock=lambda: datetime.now(UTC),
        )
        async with ingesting(ledger, settings):
            preview = await redriver.preview(EVERYTHING)
            assert preview.expected == {RedriveOutcome.RECORDED: 2, RedriveOutcome.REFUSED: 1}
            report = await redriver.execute(preview, how)
            assert report.became == preview.expected
            assert await ledger.fetch("SELECT desired_status, latest_onay_at FROM consents") == [
                {"desired_status": "RET", "latest_onay_at": opt_in.effective_at}
            ]
            assert await ledger.fetch("SELECT topic FROM outbox WHERE topic LIKE '%-dlq'") == [
                {"topic": settings.topics.dead_letters.name}
            ]
            again = await redriver.preview(
                DeadLetterSelection(names=frozenset(names[:2])), again=True
            )
            assert again.expected == {RedriveOutcome.KNOWN: 2}
            report = await redriver.execute(again, how)
            assert report.became == {RedriveOutcome.KNOWN: 2}
        assert len(await ledger.fetch("SELECT FROM history WHERE kind = 'decision'")) == 2
