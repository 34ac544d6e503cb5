"""The state and history of a recipient in words, in the order in which it was learnt."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from izin.consent.may_send import PermissionReason
from izin.consent.model import Reason
from izin.consent.violations import REASONS
from izin.iys.errors import Verdict
from izin.ledger.history import NOT_SENT
from izin.ledger.reads import RecordedFact
from izin.ledger.record import Brand, ConsentRow
from izin.views.explanation import DECISIONS, PERMISSIONS, VERDICTS, Explanation
from izin.views.i18n import Language, text
from izin.views.words import Words, turkish
from tests.support.acts import ACTS
from tests.unit.cli.test_brands import a_suspension

KEY = "100001/MESAJ/BIREYSEL/+905550000001"
NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SAID = Explanation()
EVENT = {"source": "HS_WEB", "consent_date": "2026-03-02T09:00:00+00:00"}


def a_fact(kind: str, /, *, number: int = 1, at: datetime = NOON, **data: object) -> RecordedFact:
    """Return a fact of an ONAY."""
    return RecordedFact(
        shard=0,
        place=number,
        kind=kind,
        customer_id="acme",
        key=KEY,
        event_id="event-1",
        status="ONAY",
        source="here",
        occurred_at=at,
        recorded_at=at,
        data=data,
    )


def an_entry(**overrides: object) -> ConsentRow:
    """Return a consent that is registered at İYS."""
    return ConsentRow(
        **{
            "key": KEY,
            "customer_id": "acme",
            "brand_code": 100001,
            "channel": "MESAJ",
            "recipient_type": "BIREYSEL",
            "recipient": "+905550000001",
            "desired_status": "ONAY",
            "desired_at": NOON,
            "registered": "ONAY",
            "registered_at": NOON,
            "state": "accepted",
            "reason": "settled",
            "may_send": True,
            "permission_reason": "registered",
            "updated_at": NOON,
        }
        | overrides
    )


def a_decision(reason: str, **more: object) -> RecordedFact:
    """Return the decision on an event of the web."""
    return a_fact("decision", event={**EVENT, "origin": "web"}, reason=reason, **more)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (
            a_decision("first", violations=[], opted_out=False),
            ("ONAY HS_WEB of 02.03.2026 12:00:00, from web; applied: the first event of this key"),
        ),
        (
            a_decision("newer", opted_out=True, violations=[{"reason": "no date", "code": "H112"}]),
            (
                "ONAY HS_WEB of 02.03.2026 12:00:00, from web; applied: newer than the state; "
                "published to subscribers; not registrable: no date (H112)"
            ),
        ),
        (
            a_fact("call", kind="batch", attempt=2, submission=1, **EVENT),
            "ONAY HS_WEB of 02.03.2026 12:00:00; in a batch, attempt 2",
        ),
        (
            a_fact("call", kind="single", attempt=1, submission=1, source="HS_WEB"),
            "ONAY HS_WEB; alone, attempt 1",
        ),
        (
            a_fact("answer", verdict="success", creation_date=NOON.isoformat(), code=None),
            "accepted; recorded 02.03.2026 12:00:00",
        ),
        (
            a_fact("answer", verdict="already", code="H175"),
            "it holds no consent to withdraw (H175)",
        ),
        (
            a_fact("answer", verdict="success", transaction_id="f" * 64),
            f"accepted; transaction {'f' * 16}…",
        ),
        (
            a_fact("observation", by="push", stream="IYS", ours=False, source="IYS_WEB"),
            "ONAY IYS_WEB; by the citizen at İYS; received by push",
        ),
        (
            a_fact("observation", by="pull", stream="HS", ours=True, source="HS_WEB"),
            "ONAY HS_WEB; what we had sent; received by pull",
        ),
        (
            a_fact("outcome", outcome="accepted", message="settled", code=None),
            "ONAY: registered at İYS",
        ),
        (
            a_fact("outcome", outcome="refused", message="refused-by-iys", code="H121"),
            "ONAY: refused by İYS; refused by iys; H121",
        ),
        (
            a_fact("delivery", topic="permissions", partition=2, offset=7),
            "permissions, partition 2, offset 7",
        ),
        (
            a_fact(
                "act",
                act="change brand",
                by="ada",
                before={"status": "active", "activated_at": None, "name": "One"},
                after={"status": "stopped", "activated_at": NOON.isoformat(), "name": "One"},
            ),
            (
                "change brand (by ada); status: active -> stopped; "
                "activated at: none -> 02.03.2026 12:00:00"
            ),
        ),
        (
            a_fact(
                "breach", due_at=NOON.isoformat(), last_exchange_at=NOON.isoformat(), attempts=1
            ),
            "ONAY: it was due 02.03.2026 12:00:00",
        ),
    ],
)
def test_in_words_of_each_kind_of_fact(fact: RecordedFact, words: str) -> None:
    """No kind of fact is printed as data."""
    assert SAID.in_words(fact) == words


def test_violation_of_the_history_is_said_in_turkish() -> None:
    """The history has it in English; one whose code is not known stays as it is."""
    said = Explanation(Words(text=partial(text, Language.TURKISH), when=turkish))
    for code, reason in (("H112", REASONS["H112"][1]), ("H000", "no date")):
        found = said.in_words(a_decision("first", violations=[{"reason": "no date", "code": code}]))
        assert found.endswith(f"İYS'ye kaydedilemez: {reason} ({code})")


def test_history_rows_are_in_the_order_learnt() -> None:
    """Of one instant causes come before effects, whatever the ledger's numbers."""
    late = NOON + timedelta(seconds=5)
    facts = [
        a_fact("delivery", number=2, at=late, topic="permissions", partition=0, offset=0),
        a_fact("outcome", number=3, at=late, outcome="accepted"),
        a_fact("answer", number=4, at=late, verdict="success"),
        a_fact("call", number=5, at=NOON, kind="single", attempt=1),
    ]
    whats = [what for _, what, _ in SAID.history_rows(facts)]
    assert whats == ["sent to İYS", "reply of İYS", "outcome", "published"]
    assert SAID.history_rows(facts)[0][0] == "02.03.2026 12:00:00"


def test_state_rows_are_four_answers() -> None:
    """Desired, registered, state, and whether we may send."""
    assert SAID.heading(KEY) == "+905550000001 · MESAJ · BIREYSEL · brand 100001"
    assert SAID.state_rows(an_entry(), None) == [
        ("desired", "ONAY of 02.03.2026 12:00:00"),
        ("registered at İYS", "ONAY of 02.03.2026 12:00:00"),
        ("state", "registered at İYS"),
        ("may we send?", "yes: İYS holds the consent"),
    ]


A_BRAND = Brand(brand_code=100001, iys_code=1, customer_id="acme", name="Örnek")
A_SUSPENSION = a_suspension(reason="no right to write MESAJ", since=NOON, recheck_at=None)


def test_state_rows_of_a_suspended_key_say_why() -> None:
    """Since when, why, and the command with the remedy; a stopped brand suspends all of it."""
    waiting = an_entry(state="pending", reason="opt-out", desired_status="RET")
    suspended = SAID.why_suspended(waiting, A_BRAND, (A_SUSPENSION,))
    assert suspended == (
        "suspended since 02.03.2026 12:00:00, no right to write MESAJ: izin brands suspensions"
    )
    assert dict(SAID.state_rows(waiting, suspended))["state"] == f"{suspended}; opt out"
    stopped = SAID.why_suspended(waiting, replace(A_BRAND, status="stopped"), ())
    assert stopped == "suspended, for its brand is stopped: izin brands show 100001"


@pytest.mark.parametrize(
    "fields",
    [{"brand_code": 100002}, {"channel": "ARAMA"}, {"status": "ONAY", "channel": "*"}],
    ids=str,
)
def test_suspension_of_another_does_not_apply(fields: dict[str, object]) -> None:
    """Of another brand or channel, or of consents where an opt-out waits."""
    waiting = an_entry(state="retryable", desired_status="RET")
    assert SAID.why_suspended(waiting, A_BRAND, (replace(A_SUSPENSION, **fields),)) is None
    assert SAID.why_suspended(an_entry(state="accepted"), A_BRAND, (A_SUSPENSION,)) is None


def test_every_value_of_the_law_has_words() -> None:
    """A reason, permission or verdict without words would be shown as code."""
    assert set(PERMISSIONS) == {str(one) for one in PermissionReason}
    assert set(DECISIONS) == {str(one) for one in Reason}
    assert set(VERDICTS) <= {*map(str, Verdict), NOT_SENT}


@pytest.mark.parametrize(
    ("overrides", "row", "said"),
    [
        (
            {"state": "parked", "reason": "reconsent", "code": "H178", "may_send": False},
            "state",
            "needs a person; reconsent; H178",
        ),
        (
            {"state": "pending", "reason": "opt-out", "due_at": NOON},
            "state",
            "to be sent to İYS; opt out; due 02.03.2026 12:00:00",
        ),
        (
            {"desired_status": None, "desired_at": None, "permission_reason": None},
            "desired",
            "nothing",
        ),
    ],
    ids=["parked", "waiting", "known to İYS alone"],
)
def test_state_rows_say_what_holds_a_key_up(
    overrides: dict[str, object], row: str, said: str
) -> None:
    """A parked key has its reason, and a waiting one its due date."""
    assert dict(SAID.state_rows(an_entry(**overrides), None))[row] == said


@pytest.mark.parametrize("act", sorted({*ACTS.values(), "look", "save account", "make link"}))
def test_every_act_is_called_something_in_turkish(act: str) -> None:
    """With the number or the channel that it is of."""
    said = Explanation(Words(text=partial(text, Language.TURKISH), when=turkish)).act_name(act)
    assert said != act
    assert not re.search(r"\d|/", act) or said.split()[-1] == act.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (KEY, "+905550000001 · MESAJ · BIREYSEL · brand 100001"),
        ("brand/100001", "brand 100001"),
        ("dead-letter/consent-events/0/7/00ff", "dead-letter consent-events/0/7/00ff"),
        ("person/1f/00112233445566", "person …445566"),
        ("person/all", "everybody"),
        ("person/unnamed", "somebody"),
    ],
)
def test_what_an_act_concerns_is_said_by_its_key(key: str, said: str) -> None:
    """A recipient by its key, a person by the end of a digest."""
    assert SAID.concerned(key) == said
