"""Each kind of difference, and what is none: by a table of compared_keys.

What repairs a difference, and how repairs are kept: pure parts.
İYS is asked in halves where it refuses, and patiently where it is busy; and the ledger must
follow.
Words that contradict one another, and files that cannot be used, reach no server.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.reconcile.command import DifferenceReport
from izin.cli.terminal.output import OutputFormat
from izin.consent import Action, Channel, State, admit
from izin.iys.errors import BusyError, CallError, MisconfiguredError, RefusedError, ThrottledError
from izin.iys.rate_limit import CallClass
from izin.ledger.record import Brand
from izin.reconcile import comparing
from izin.reconcile.comparing import (
    Asker,
    Comparer,
    IysSilentError,
    OurError,
    ReconcileScope,
)
from izin.reconcile.judging import Cause, ComparedKey, Finding, Kind, SaidBy, judge
from izin.reconcile.remedies import DecidedEvent, KeyDecisions, Repair, remedy_of
from izin.reconcile.repairs import LINES, KeyRepairs, first_append
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from tests.support.builders import BRAND, CUSTOMER, NOON, a_key, an_admitted_event, an_event
from tests.support.reconcile.compared_keys import (
    EARLIER,
    KEY,
    LATER,
    OPTED_OUT,
    OUT,
    PERMISSION,
    a_compared_key,
    a_record,
    a_row,
    answered,
    at_iys,
)

HIDING = {"latest_ret_at": LATER}
"""Of the row of an opt-in: İYS's ONAY is older than the latest opt-out."""
EQUAL = {
    "as it is": {},
    "known RET is absent in the multiple query": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET"),
        "asked": answered("NOT_ONAY"),
    },
    "RET without a record at İYS (H175)": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="NONE", code="H175"),
        "seen": answered("NONE"),
    },
    "due to İYS": {"row": a_row(registered="NONE", action=Action.SEND, state=State.PENDING)},
    "on its way": {"row": a_row(registered="UNKNOWN", onay_open=True)},
    "seen before the row": {"seen": at_iys("RET", creation_date=EARLIER)},
    "RET of the same second": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET"),
        "seen": at_iys(creation_date=NOON),
    },
    "pushed, and not pulled yet": {
        **OUT,
        "row": a_row(
            **OPTED_OUT,
            registered="RET",
            registered_at=LATER + timedelta(seconds=1),
            verified_at=None,
        ),
    },
    "opt-in set aside as void": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET", desired_event_id="no", void_event_id="event-1"),
        "desired": a_record(),
        "asked": answered("NOT_ONAY"),
    },
    "hidden opt-out that is queried": {"row": a_row(**HIDING, action=Action.QUERY)},
    "date that is not known": {"seen": at_iys(consent_date=None)},
}


@pytest.mark.parametrize("sides", EQUAL.values(), ids=EQUAL)
def test_sides_that_agree_have_no_difference(sides: dict[str, Any]) -> None:
    """Or settle by themselves."""
    assert judge(a_compared_key(**sides), pulled_until=LATER) == ()


ONES = {
    "İYS has none": (
        {"asked": at_iys("NONE", transaction_id=None)},
        Kind.MISSING_AT_IYS,
        SaidBy.IYS,
    ),
    "hidden opt-out": ({"row": a_row(**HIDING)}, Kind.HIDDEN_OPT_OUT, SaidBy.IYS),
    "not ONAY": ({"asked": answered("NOT_ONAY")}, Kind.STATUS, SaidBy.IYS),
    "citizen": ({"asked": at_iys("RET", source="IYS_WEB")}, Kind.STATUS, SaidBy.IYS),
    "citizen seen": ({"seen": at_iys("RET", source="IYS_WEB")}, Kind.STATUS, SaidBy.IYS),
    "portal": ({"asked": at_iys("RET", is_ours=False)}, Kind.OTHER_WRITER, SaidBy.IYS),
    "date": ({"seen": at_iys(consent_date=EARLIER)}, Kind.DATE, SaidBy.IYS),
    "portal's date": (
        {"seen": at_iys(consent_date=LATER, is_ours=False)},
        Kind.OTHER_WRITER,
        SaidBy.IYS,
    ),
    "claimed": ({"row": a_row(verified_at=None)}, Kind.UNVERIFIED, SaidBy.IYS),
    "unknown": ({"row": a_row(registered="UNKNOWN")}, Kind.UNVERIFIED, SaidBy.IYS),
    "unknown, asked": (
        {"row": a_row(registered="UNKNOWN"), "asked": at_iys()},
        Kind.UNVERIFIED,
        SaidBy.IYS,
    ),
    "nothing desired": (
        {"row": a_row(desired_status=None, desired_at=None), "desired": None},
        Kind.MISSING_HERE,
        SaidBy.IYS,
    ),
    "no row": ({"row": None}, Kind.MISSING_HERE, SaidBy.DESIRED),
    "no row, İYS alone": (
        {"row": None, "desired": None, "permission": None},
        Kind.MISSING_HERE,
        SaidBy.IYS,
    ),
    "no row, permission": (
        {"row": None, "desired": None, "seen": None},
        Kind.MISSING_HERE,
        SaidBy.PERMISSIONS,
    ),
    "no record": ({"desired": None}, Kind.MISSING_HERE, SaidBy.DESIRED),
    "other record": ({"desired": a_record(status="RET")}, Kind.STATUS, SaidBy.DESIRED),
    "other event": ({"desired": a_record(event_id="event-2")}, Kind.DATE, SaidBy.DESIRED),
    "no permission": ({"permission": None}, Kind.MISSING_HERE, SaidBy.PERMISSIONS),
    "other permission": (
        {"permission": replace(PERMISSION, may_send=False)},
        Kind.STATUS,
        SaidBy.PERMISSIONS,
    ),
    "row that says yes to an opt-out": (
        {
            **OUT,
            "seen": None,
            "row": a_row(**OPTED_OUT | {"may_send": True, "registered": "RET"}),
        },
        Kind.STATUS,
        SaidBy.PERMISSIONS,
    ),
    "since": (
        {"permission": replace(PERMISSION, since=EARLIER)},
        Kind.DATE,
        SaidBy.PERMISSIONS,
    ),
}


@pytest.mark.parametrize(("sides", "kind", "side"), ONES.values(), ids=ONES)
def test_each_difference_has_its_kind_and_side(
    sides: dict[str, Any], kind: Kind, side: SaidBy
) -> None:
    """No other side is blamed, and none of these is explained."""
    (found,) = judge(a_compared_key(**sides), pulled_until=LATER)
    assert (found.kind, found.side, found.cause) == (kind, side, None)


CAUSES = {
    Cause.EXPIRED: {"registered": "NONE", "state": State.EXPIRED},
    Cause.REFUSED: {"registered": "NONE", "state": State.REFUSED, "code": "H178"},
    Cause.PARKED: {"registered": "RET", "state": State.PARKED, "reason": "reconsent"},
    Cause.WITHDRAWN: {**OPTED_OUT, "withdrawn_at": NOON, "state": State.NOT_NEEDED},
}


@pytest.mark.parametrize(("cause", "columns"), CAUSES.items())
def test_what_a_person_must_do_is_explained(cause: Cause, columns: dict[str, Any]) -> None:
    """No repair is offered, but the next step, with its code or reason."""
    sides = OUT if cause is Cause.WITHDRAWN else {}
    compared = a_compared_key(row=a_row(**columns), seen=None, **sides)
    of_iys = next(one for one in judge(compared, pulled_until=LATER) if one.side is SaidBy.IYS)
    assert of_iys.cause is cause
    remedy = remedy_of(of_iys, compared, KeyDecisions(), now=NOON)
    assert remedy.repair is None
    assert str(columns.get("code") or "") in remedy.next_step


def the_finding(compared: ComparedKey) -> Finding:
    """Return the one difference of a compared."""
    (found,) = judge(compared, pulled_until=LATER)
    return found


DECIDED = KeyDecisions(events=[DecidedEvent(an_event(), NOON)], is_known=True)
OTHER_DECIDED = KeyDecisions(events=[DecidedEvent(an_event(), EARLIER)], is_known=True)
REMEDIES = {
    "no row": ({"row": None}, DECIDED, Repair.RESTORE),
    "topic newer": ({"desired": a_record(effective_at=LATER)}, DECIDED, Repair.RESTORE),
    "topic older": ({"desired": a_record(effective_at=EARLIER)}, DECIDED, Repair.REPUBLISH),
    "no record": ({"desired": None}, DECIDED, Repair.REPUBLISH),
    "no record, no history": ({"desired": None}, KeyDecisions(), None),
    "no record, other history": ({"desired": None}, OTHER_DECIDED, None),
    "permission": ({"permission": None}, DECIDED, Repair.PERMISSION),
    "permission of nobody": (
        {"row": None, "desired": None, "seen": None},
        KeyDecisions(),
        Repair.REMOVE_PERMISSION,
    ),
    "permission of a lost key": ({"row": None, "desired": None, "seen": None}, DECIDED, None),
    "İYS alone": (
        {"row": None, "desired": None, "permission": None},
        KeyDecisions(),
        Repair.MOVEMENT,
    ),
    "İYS alone, no details": (
        {"row": None, "desired": None, "permission": None, "seen": answered("ONAY")},
        KeyDecisions(),
        None,
    ),
    "İYS": ({"asked": answered("NOT_ONAY")}, DECIDED, Repair.QUERY),
}


@pytest.mark.parametrize(("sides", "decided", "repair"), REMEDIES.values(), ids=REMEDIES)
def test_each_difference_has_its_repair_or_next_step(
    sides: dict[str, Any], decided: KeyDecisions, repair: Repair | None
) -> None:
    """What only the history can decide is left to a rebuild."""
    compared = a_compared_key(**sides)
    remedy = remedy_of(the_finding(compared), compared, decided, now=NOON)
    assert remedy.repair is repair
    assert repair or "izin " in remedy.next_step


def test_missing_consent_past_its_term_needs_a_new_one() -> None:
    """It is queried all the same, so that the gate shuts."""
    missing = at_iys("NONE", transaction_id=None)
    compared = a_compared_key(row=a_row(expires_at=EARLIER), asked=missing)
    remedy = remedy_of(the_finding(compared), compared, DECIDED, now=NOON)
    assert remedy.repair is Repair.QUERY
    assert "new consent" in remedy.next_step


def test_line_of_a_plan_is_read_as_it_was_written() -> None:
    """With bytes, instants and İYS's record."""
    written = KeyRepairs(
        key=KEY,
        customer_id=CUSTOMER,
        repairs=(Repair.RESTORE, Repair.MOVEMENT),
        updated_at=NOON,
        effective_at=LATER,
        value=b"\0\xff",
        entry=at_iys(),
    )
    assert LINES.validate_json(LINES.dump_json(written)) == written


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(minutes=2), timedelta(days=-2)])
def test_event_that_is_published_again_counts_as_it_did(ahead: timedelta) -> None:
    """Also where the clock of its sender was ahead of the broker, and years later."""
    admitted = an_admitted_event(consent_date=NOON + ahead, received_at=NOON + ahead)
    at = first_append(admitted.event, admitted.effective_at)
    again = admit(admitted.event, appended_at=at)
    assert again.effective_at == admitted.effective_at
    assert at < datetime.now(UTC)


SCOPE = ReconcileScope(
    brand=Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
)
REFUSED = "+905550000003"
PAGE = [
    {"key": str(a_key(recipient=f"+90555000000{number}")), "registered": "ONAY"}
    for number in range(1, 6)
]


class FakeIys:
    """An İYS that has the consents of ``held``, or everybody's; refuses one recipient, and raises
    errors first.
    """

    def __init__(self, *errors: CallError, held: Iterable[str] | None = None) -> None:
        self.errors = list(errors)
        self.held = held
        self.asked: list[tuple[str, str, list[str], CallClass]] = []

    async def statuses(
        self,
        path: object,
        channel: Channel,
        _recipient_type: object,
        recipients: Iterable[str],
        *,
        call_class: CallClass,
    ) -> frozenset[str]:
        """Return who is at ONAY."""
        self.asked.append((str(path), str(channel), list(recipients), call_class))
        if self.errors:
            raise self.errors.pop(0)
        if REFUSED in recipients:
            raise RefusedError(f"one is no recipient of {channel}")
        return frozenset(recipients if self.held is None else self.held)


def pages_of(iys: FakeIys, requests: int = 10) -> PageQuery:
    """Return what asks ``iys``, so many requests a second."""
    budget = RequestBudget(requests, clock=monotonic)
    return PageQuery(client=iys, clock=lambda: NOON, budget=budget)  # type: ignore[arg-type]


async def test_refused_recipient_costs_only_its_own_answer() -> None:
    """The page is asked about in parts, in the slots that others leave."""
    iys = FakeIys()
    found = await Asker(pages=pages_of(iys))._many(SCOPE, PAGE)
    assert set(found) == {one["key"] for one in PAGE if not one["key"].endswith(REFUSED)}
    assert all(found.values())
    assert sum(len(recipients) for _, _, recipients, _ in iys.asked) >= len(PAGE)
    assert {call_class for *_, call_class in iys.asked} == {CallClass.SWEEP}
    only = [one for one in PAGE if one["key"].endswith(REFUSED)]
    assert await Asker(pages=pages_of(iys))._many(SCOPE, only * 2) == {}


async def test_iys_that_does_not_let_us_ask_is_an_error() -> None:
    """Nothing is compared by half of its answers."""
    with pytest.raises(IysSilentError, match="no right"):
        await Asker(pages=pages_of(FakeIys(MisconfiguredError("no right"))))._many(SCOPE, PAGE[:2])


ENDS: list[tuple[list[CallError], type[Exception] | None]] = [
    ([BusyError("busy"), ThrottledError("H124", retry_after=timedelta(0))], None),
    ([BusyError("busy")] * 5, IysSilentError),
    ([MisconfiguredError("no right")], IysSilentError),
    ([BusyError("busy", retry_after=timedelta(hours=1))], IysSilentError),
    ([ThrottledError("spent", retry_after=timedelta(minutes=9))], ThrottledError),
]


@pytest.mark.parametrize(("errors", "raised"), ENDS)
async def test_single_query_is_made_again_where_that_may_help(
    errors: list[CallError], raised: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever; the hour's limit is passed on, for the single queries end there."""
    monkeypatch.setattr(comparing, "_PAUSE", timedelta(0))
    ask = AsyncMock(side_effect=[*errors, "answer"])
    if raised is None:
        assert await comparing._patiently(ask) == "answer"
    else:
        with pytest.raises(raised):
            await comparing._patiently(ask)


async def test_ledger_behind_its_decisions_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything that is on its way would differ."""
    settings = KafkaSettings(topic_prefix="", partitions=1)
    topic = settings.topics.decisions.name

    ends: dict[int, int] = {0: 9, 1: 1}
    monkeypatch.setattr(comparing.clients, "committed_ends", lambda *_: ends)
    monkeypatch.setattr(comparing.reads, "ingested", AsyncMock(return_value={(topic, 0): 7}))
    monkeypatch.setattr(comparing, "_BEHIND_FOR", timedelta(0))
    ledger: Any = None
    comparer = Comparer(ledger=ledger, kafka=settings, codec=Codec(), clock=lambda: NOON)
    with pytest.raises(OurError, match="3 decisions"):
        await comparer._until_ingested()
    ends.clear()
    await comparer._until_ingested()


def run(words: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it prints."""
    result = CliRunner().invoke(app, words.split())
    return result.exit_code, result.output


def test_comparison_without_a_difference_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """An exit code alone is not seen."""
    report = DifferenceReport(OutputFormat.TABLE, unmasked=False, csv=None)
    sizes = {"rows": 2, "desired": 2, "permissions": 2, "seen": 2, "changing": 0}
    report.end(Mock(sizes=sizes), None)
    assert capsys.readouterr().out.splitlines() == [
        "compared: 2 rows, 2 desired consents, 2 permissions; what İYS holds is known of 2 keys",
        "no differences",
    ]


@pytest.mark.parametrize(
    "words",
    ["reconcile", "reconcile --execute", "reconcile --execute --plan x.json --ask"],
)
def test_words_that_contradict_are_wrong_usage(words: str) -> None:
    """A comparison needs a brand, an execution its plan alone."""
    assert run(words)[0] == 2


def test_plan_of_a_replay_is_not_executed(tmp_path: Path) -> None:
    """The error names what it is the plan of."""
    path = tmp_path / "plan.json"
    Plan(
        kind="rebuild",
        target="ledger",
        selection=Selection(),
        cluster_id="cluster",
        topics={},
        made_at=NOON,
        by="ada",
    ).write(path)
    code, printed = run(f"reconcile --execute --plan {path}")
    assert (code, "the plan of rebuild ledger" in printed) == (3, True)


def test_file_that_cannot_be_written_ends_the_comparison(tmp_path: Path) -> None:
    """Before anything is compared, and nothing is left."""
    listed = tmp_path / "list.csv"
    listed.write_text("Telefon\n05550000001\n", "utf-8")
    target = tmp_path / "no folder" / "add.csv"
    words = ["subscribers", "compare", str(listed), "--brand", "1", "--type", "MESAJ"]
    result = CliRunner().invoke(app, [*words, "--for-tool", str(target)])
    assert (result.exit_code, "cannot be written" in result.output) == (4, True)
    assert list(tmp_path.iterdir()) == [listed]
