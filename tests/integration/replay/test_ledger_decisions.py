"""Decisions that the ledger could not take are written again; admission would find them decided."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from izin.cli.terminal.ledger_session import open_ledger
from izin.consent import decide
from izin.replay.dead_letters.outcomes import RedriveOutcome
from izin.replay.dead_letters.reading import DeadLetterSelection
from izin.replay.dead_letters.redrive import Redriver, RedriveStatement
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.support.builders import a_decision_record, a_key, a_ret, an_admitted_event
from tests.support.order.harness import SUPPRESSIONS
from tests.support.replay.dead_letters import CODEC, LetterHarness
from tests.support.replay.ingesting import ingesting

pytestmark = [pytest.mark.broker, pytest.mark.database]

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
    how = RedriveStatement(by="ada", reason="mended", wait=timedelta(seconds=30), refused_too=True)
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
            (row,) = await ledger.fetch("SELECT desired_status, latest_onay_at FROM consents")
            assert (row["desired_status"], row["latest_onay_at"]) == ("RET", opt_in.effective_at)
            (queued,) = await ledger.fetch("SELECT topic FROM outbox WHERE topic LIKE '%-dlq'")
            assert queued["topic"] == settings.topics.dead_letters.name
            again = await redriver.preview(
                DeadLetterSelection(names=frozenset(names[:2])), again=True
            )
            assert again.expected == {RedriveOutcome.KNOWN: 2}
            report = await redriver.execute(again, how)
            assert report.became == {RedriveOutcome.KNOWN: 2}
        facts = await ledger.fetch("SELECT FROM movements WHERE kind = 'decision'")
        assert len(facts) == 2
