"""A recipient's history reads as one would tell it, in the order in which it was learnt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent.may_send import PermissionReason
from izin.consent.model import Reason
from izin.console.explain import history
from izin.console.explain.history import happened, heading, in_words, kept_from, standing
from izin.iys.answers import Verdict
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.reads import Fact
from izin.sinks.ledger.suspensions import Stop
from izin.sinks.record.row import Entry

KEY = "100001/MESAJ/BIREYSEL/+905550000001"
NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SAID = {"source": "HS_WEB", "consent_date": "2026-03-02T09:00:00+00:00"}


def a_fact(kind: str, /, *, number: int = 1, at: datetime = NOON, **data: object) -> Fact:
    """Return a movement of an ONAY."""
    return Fact(
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


def an_entry(**overrides: object) -> Entry:
    """Return a consent that İYS has."""
    fields: dict[str, Any] = {
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
        "why": "settled",
        "may_send": True,
        "permission_reason": "registered-onay",
        "updated_at": NOON,
    }
    return Entry(**fields | overrides)


def a_decision(reason: str, **more: object) -> Fact:
    """Return what the law made of an event of the web."""
    return a_fact("decision", event={**SAID, "origin": "web"}, reason=reason, **more)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (
            a_decision("first", violations=[], opted_out=False),
            (
                "ONAY HS_WEB of 02.03.2026 12:00:00, said by web; applies: the first word about "
                "this key"
            ),
        ),
        (
            a_decision("newer", opted_out=True, violations=[{"reason": "no date", "code": "H112"}]),
            (
                "ONAY HS_WEB of 02.03.2026 12:00:00, said by web; applies: newer than what stood; "
                "every subscriber is told; not registrable: no date (H112)"
            ),
        ),
        (
            a_fact("call", kind="batch", attempt=2, submission=1, **SAID),
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
            "stands so already; it holds nothing that could be withdrawn (H175)",
        ),
        (
            a_fact("answer", verdict="success", transaction_id="f" * 64),
            f"accepted; transaction {'f' * 16}…",
        ),
        (
            a_fact("observation", by="push", stream="IYS", ours=False, source="IYS_WEB"),
            "ONAY IYS_WEB; by the citizen at İYS; heard by push",
        ),
        (
            a_fact("observation", by="pull", stream="HS", ours=True, source="HS_WEB"),
            "ONAY HS_WEB; what we had told; heard by pull",
        ),
        (
            a_fact("outcome", outcome="accepted", message="settled", code=None),
            "ONAY: İYS has it",
        ),
        (
            a_fact("outcome", outcome="refused", message="refused-by-iys", code="H121"),
            "ONAY: İYS refused it; refused by iys; H121",
        ),
        (
            a_fact("delivery", topic="permissions", partition=2, offset=7),
            "permissions, partition 2, offset 7",
        ),
        (a_fact("act", who="operator", empty=None), "who operator"),
        (
            a_fact("breach", due_at=NOON.isoformat(), told_at=NOON.isoformat(), attempts=1),
            "ONAY: it was due 02.03.2026 12:00:00",
        ),
    ],
)
def test_what_happened_is_told_in_words(fact: Fact, words: str) -> None:
    """No kind of movement is told as data."""
    assert in_words(fact) == words


def test_history_is_in_the_order_in_which_it_was_learnt() -> None:
    """Of one instant the cause comes before its effect, whatever the ledger's numbers."""
    late = NOON + timedelta(seconds=5)
    facts = [
        a_fact("delivery", number=2, at=late, topic="permissions", partition=0, offset=0),
        a_fact("outcome", number=3, at=late, outcome="accepted"),
        a_fact("answer", number=4, at=late, verdict="success"),
        a_fact("call", number=5, at=NOON, kind="single", attempt=1),
    ]
    whats = [what for _, what, _ in happened(facts)]
    assert whats == ["told İYS", "İYS answered", "outcome", "published"]
    assert happened(facts)[0][0] == "02.03.2026 12:00:00"


def test_how_a_key_stands_is_four_answers() -> None:
    """What we want, what İYS holds, where telling stands, and whether we may send."""
    assert heading(KEY) == "+905550000001 · MESAJ · BIREYSEL · brand 100001"
    assert standing(an_entry(), None) == [
        ("we want", "ONAY of 02.03.2026 12:00:00"),
        ("İYS holds", "ONAY of 02.03.2026 12:00:00"),
        ("where it stands", "İYS has it"),
        ("may we send?", "yes: İYS holds the consent"),
    ]


def test_what_waits_for_a_person_says_why() -> None:
    """A parked key names its reason; how to go on stands below, in a line of its own."""
    entry = an_entry(state="parked", why="reconsent", code="H178", may_send=False)
    parked = dict(standing(entry, None))
    assert parked["where it stands"] == "waits for a person; reconsent; H178"


A_BRAND = Brand(brand_code=100001, iys_code=1, customer_id="acme", name="Örnek")
A_STOP = Stop(
    brand_code=100001,
    channel="MESAJ",
    status="*",
    code="H353",
    why="no right to write MESAJ",
    reach="brand",
    since=NOON,
    recheck_at=None,
    rechecks=0,
)


def test_what_is_kept_from_iys_does_not_look_as_if_it_were_told() -> None:
    """Since when, why, and where the cure stands; a stopped brand keeps all of it."""
    owed = an_entry(state="pending", why="opt-out", desired_status="RET")
    kept = kept_from(owed, A_BRAND, (A_STOP,))
    assert kept == (
        "kept from İYS since 02.03.2026 12:00:00, no right to write MESAJ: izin brands stops"
    )
    assert dict(standing(owed, kept))["where it stands"] == f"{kept}; opt out"
    stopped = kept_from(owed, replace(A_BRAND, status="stopped"), ())
    assert stopped == "kept from İYS, for its brand is stopped: izin brands show 100001"


@pytest.mark.parametrize(
    "stop",
    [{"brand_code": 100002}, {"channel": "ARAMA"}, {"status": "ONAY", "channel": "*"}],
    ids=str,
)
def test_anothers_stop_keeps_nothing(stop: dict[str, object]) -> None:
    """Of another brand or channel, or of consents where an opt-out is owed."""
    owed = an_entry(state="retryable", desired_status="RET")
    assert kept_from(owed, A_BRAND, (replace(A_STOP, **stop),)) is None
    assert kept_from(an_entry(state="accepted"), A_BRAND, (A_STOP,)) is None


def test_what_is_owed_names_its_term() -> None:
    """A key to be told says by when."""
    owed = dict(standing(an_entry(state="pending", why="opt-out", due_at=NOON), None))
    assert owed["where it stands"].endswith("opt out; due 02.03.2026 12:00:00")


def test_a_key_of_which_nothing_is_wanted_is_told() -> None:
    """What only İYS knows of has no date of ours."""
    unheard = an_entry(desired_status=None, desired_at=None, permission_reason=None)
    assert dict(standing(unheard, None))["we want"] == "nothing"


def test_every_word_of_the_law_has_words_for_people() -> None:
    """A reason, permission or verdict without words would be shown as code."""
    assert set(history._PERMISSIONS) == {str(one) for one in PermissionReason}
    assert set(history._DECISIONS) == {str(one) for one in Reason}
    assert set(history._VERDICTS) <= {str(one) for one in Verdict}
