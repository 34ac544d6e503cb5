"""Terms are counted again once the calendar is right, and what it voided by mistake is due."""

import json
from datetime import timedelta

import pytest

from izin.consent.business_days import Calendar
from izin.consent.due_dates import TURKEY
from izin.sinks.ledger import brands, reads
from izin.sinks.ledger.registry.rule_again import CountedTerms, TermsAgain
from izin.sinks.record.errors import IllegalChangeError
from tests.integration.sinks.sink_harness import A_SECOND, Izin, SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, a_key

pytestmark = pytest.mark.database

EXPIRED, PENDING, PARKED, OPT_OUT, DONE = map(a_phone, range(1, 6))


def calendar(harness: SinkHarness, days: range) -> Calendar:
    """Return the calendar in which so many days from today are closed."""
    today = harness.clock().astimezone(TURKEY).date()
    return Calendar(extra_closed_days=frozenset(today + timedelta(days=one) for one in days))


async def count_again(harness: SinkHarness, *, is_dry_run: bool = False) -> CountedTerms:
    """Count the terms of our brand by the calendar of the ledger."""
    order = TermsAgain(
        ledger=harness.ledger,
        topic_messages=harness.context.topic_messages,
        by="ada",
        now=harness.clock(),
        is_dry_run=is_dry_run,
    )
    (counted,) = await order.run(await brands.every(harness.ledger))
    return counted


@pytest.fixture
async def late(harness: SinkHarness) -> SinkHarness:
    """Give sinks behind the term of five records: one is registered, one is parked, one expired."""
    await harness.register(onay(DONE))
    given = [onay(EXPIRED), onay(PENDING), onay(PARKED), ret(OPT_OUT)]
    await harness.ingest(*given)
    due = (await harness.row(EXPIRED)).expires_at
    assert due is not None
    harness.advance(due - harness.clock() + A_SECOND)
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'parked', action = 'nothing', reason = 'unknown-code'"
        " WHERE recipient = %(recipient)s RETURNING key",
        {"recipient": PARKED},
    )
    await harness.ledger.fetch(
        "UPDATE consents SET expires_at = NULL WHERE recipient = %(recipient)s RETURNING key",
        {"recipient": PENDING},
    )
    assert await harness.scheduler.expire()
    assert await harness.states_of([EXPIRED, PENDING]) == ["expired", "pending"]
    return harness


async def test_expired_consent_is_due_again_by_a_longer_term(late: SinkHarness):
    """It is submitted as any other; what is parked stays so, with its new term; what İYS has taken
    is left alone; and the history has who ordered it, for the consent and the brand. Once more it
    changes nothing, so a run that was cut off is run again; by the old calendar it expires.
    """
    before = await late.row(DONE)
    late.ledger.calendar = calendar(late, range(-3, 3))
    expected = await count_again(late, is_dry_run=True)
    assert (await late.row(EXPIRED)).state == "expired"
    counted = await count_again(late)
    assert counted == expected
    assert (counted.records, counted.later, counted.extended, counted.expired) == (4, 4, 1, 0)
    row = await late.row(EXPIRED)
    assert (row.state, row.action, row.permission_reason) == ("pending", "send", "awaiting-iys")
    assert row.expires_at is not None
    assert row.expires_at > late.clock()
    parked = await late.columns("state", "expires_at", recipient=PARKED)
    assert parked == ("parked", row.expires_at)
    assert await late.row(DONE) == before
    acts = await reads.facts(late.ledger, [str(a_key(recipient=EXPIRED)), f"brand/{BRAND}"])
    named = [(one.data["act"], one.data["by"]) for one in acts if one.kind == "act"]
    assert named[-2:] == [("extend term", "ada"), ("count terms again", "ada")]
    again = await count_again(late)
    assert (again.extended, again.later, again.sooner, again.expired) == (0, 0, 0, 0)
    late.ledger.calendar = Calendar()
    assert (await count_again(late)).expired == 2  # the other one waited
    assert await late.states_of([EXPIRED, PENDING, OPT_OUT]) == ["expired", "expired", "pending"]


async def test_expired_consent_that_would_be_parked_is_parked(late: SinkHarness):
    """Due again, it is ruled as any other: over a citizen's opt-out a person must attest it."""
    await late.ledger.fetch(
        "UPDATE consents SET registered = 'RET', registered_source = 'IYS_WEB',"
        " verified_at = now(), registered_at = desired_at - interval '1 day'"
        " WHERE state = 'expired' RETURNING key"
    )
    late.ledger.calendar = calendar(late, range(-3, 3))
    await count_again(late)
    assert await late.columns("state", "reason", recipient=EXPIRED) == ("parked", "reconsent")


async def test_command_does_it_and_the_database_nothing_else(
    late: SinkHarness, izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """Days are those of the environment. Whatever code does, nothing comes back that İYS refused as
    late, or whose term ends no later than it did.
    """
    for reason, end in (
        ("term-ended", "expires_at"),
        ("term-ended", "expires_at - interval '1 second'"),
        ("refused-as-late", "expires_at + interval '1 day'"),
    ):
        await late.ledger.fetch(
            "UPDATE consents SET reason = %(reason)s WHERE state = 'expired' RETURNING key",
            {"reason": reason},
        )
        with pytest.raises(IllegalChangeError, match="expired to pending"):
            await late.ledger.fetch(
                f"UPDATE consents SET state = 'pending', expires_at = {end}"  # above
                " WHERE state = 'expired' RETURNING key"
            )
    await late.ledger.fetch(
        "UPDATE consents SET reason = 'term-ended' WHERE state = 'expired' RETURNING key"
    )
    days = sorted(map(str, calendar(late, range(-3, 3)).extra_closed_days))
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", json.dumps(days))
    would = await izin("deadlines", "recount-terms", f"--brand={BRAND}")
    assert (would.exit_code, (await late.row(EXPIRED)).state) == (0, "expired")
    assert "nothing is changed: add --execute" in would.stderr
    assert days[0] in would.stderr
    unknown = await izin("deadlines", "recount-terms", "--brand=7", "--execute")
    assert unknown.exit_code == 3  # the input
    done = await izin("deadlines", "recount-terms", "--execute")
    assert "terms are counted again" in done.stderr
    assert (await late.row(EXPIRED)).state == "pending"
