"""What hostile, requests, property, days and forgery make: the same for the same seed, and what is
wrong with it is found.

Ledger, evidence, what-if and reconcile give one answer, by the one fold (``consent.fold``).
"""

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.worker.probe import LatencySummary
from izin.consent import RegisteredState, Status, decide
from izin.consent.may_send import Permission, PermissionReason
from izin.evidence import rows
from izin.evidence.rows import EvidenceRow
from izin.ledger.db import Ledger
from izin.ledger.history import chain_check
from izin.ledger.record import ConsentRow, apply
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.guard import DeadLetter, dead_letter_of, unreadable_batch
from izin.streams.outputs import BATCH_OFFSETS, REPARTITIONED
from tests.chaos.command import Pair
from tests.chaos.days import __main__ as days, virtual_loop as virtual
from tests.chaos.days.virtual_site import TimedLedger
from tests.chaos.forgery import __main__ as forgery, archives, forger
from tests.chaos.hostile import __main__ as hostile
from tests.chaos.hostile.records import (
    KINDS,
    RARE,
    Account,
    WrittenBatch,
    account,
    event_id,
    hostile_batch,
)
from tests.chaos.property import __main__ as property_
from tests.chaos.property.key_history import ACTS
from tests.chaos.requests import __main__ as requests
from tests.chaos.requests.apis import TARGETS, Api
from tests.chaos.requests.making import HostileRequest, Known, hostile_request, kinds_of, request
from tests.chaos.requests.writer import Answers, note, statuses_of
from tests.support.builders import a_decision_record, an_admitted_event, kafka_message
from tests.support.order.harness import fetched

SETTINGS = KafkaSettings()
TOPICS = SETTINGS.topics
BULK = TOPICS.events.name


def test_hostile_batch_is_the_same_for_the_same_seed() -> None:
    """What did harm can be made again, alone; every kind comes up."""
    made = [hostile_batch(3, number, 12) for number in range(400)]
    assert made[7] == hostile_batch(3, 7, 12) != hostile_batch(2, 7, 12)
    assert {one.kind for one in made} >= KINDS.keys() | RARE.keys()


def _account(decisions: Iterable[dict[str, Any]], letters: Iterable[dict[str, Any]]) -> Account:
    """Return the account of a batch of two records at offset 10, where these were written."""
    codec = Codec()
    topics = {
        TOPICS.decisions.name: [codec.encode("Decision", one) for one in decisions],
        TOPICS.dead_letters.name: [codec.encode("DeadLetter", one) for one in letters],
    }
    batch = WrittenBatch(number=5, kind="junk", topic=BULK, partition=0, first=10, count=2)
    return account(
        SETTINGS,
        [batch],
        read=lambda _, topic: [kafka_message(value=one) for one in topics[topic]],
    )


def _decision(index: int, status: Status, offset: int) -> dict[str, Any]:
    admitted = an_admitted_event(status=status, event_id=event_id(5, index))
    return a_decision_record(decide(None, admitted), topic=BULK, offset=offset)


def _letter(offset: int, reason: str = "undecodable", **headers: bytes) -> dict[str, Any]:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    record = fetched(offset=offset, headers=named)
    return dict(dead_letter_of(DeadLetter(reason=reason, violations=()), record))


def test_account_knows_letters_refusals_and_closed_keys() -> None:
    """By their offset; by their event where they were repartitioned."""
    found = _account([_decision(0, Status.RET, 99)], [_letter(11, "refused")])
    assert (found.wrong, found.fates["junk"]) == ([], {"key closed": 1, "refused": 1})


def test_account_knows_what_a_batch_and_its_parts_hold() -> None:
    """A dead letter of a batch stands for its offsets; one of a moved record for where it was."""
    whole = _letter(10, unreadable_batch.__name__, **{BATCH_OFFSETS: b"10-11"})
    assert _account([], [whole]).wrong == []
    moved = f"{BULK}/0/10".encode()
    assert len(_account([], [_letter(70, **{REPARTITIONED: moved})]).wrong) == 1


def test_account_finds_what_vanished_and_opt_ins_that_were_admitted() -> None:
    """A check that cannot fail says nothing."""
    found = _account([_decision(0, Status.ONAY, 10)], [])
    assert found.wrong == [
        f"batch 5, record 0 (junk) at ('{BULK}', 0, 10): opt-in admitted",
        f"batch 5, record 1 (junk) at ('{BULK}', 0, 11): nothing came of it",
    ]


def a_pair(without: float, beside: float) -> Pair:
    """Return a pair with these 99th percentiles, in milliseconds."""
    first, second = (
        LatencySummary(name="", probes=1, p50=0.0, p99=one, most=one) for one in (without, beside)
    )
    return Pair(without=first, beside=second)


@pytest.mark.parametrize(
    ("pairs", "share"),
    [
        ([a_pair(4, 50)], 100),
        ([a_pair(100, 150)], 75),
        ([a_pair(4, 50), a_pair(4, 75), a_pair(4, 500)], 150),
        ([], None),
    ],
    ids=["floor", "twice", "median", "none-came"],
)
def test_delay_is_the_median_of_its_limit(pairs: list[Pair], share: float | None) -> None:
    """The limit is twice the wait without hostile records, or 50 ms."""
    verdict = hostile.HostileVerdict(
        pairs=pairs,
        opt_outs=3,
        lost=1,
        records=2,
        account=Account(fates={}, wrong=["one"]),
        ends=[70],
    )
    found = hostile.report(verdict, seed=4, seconds=1)
    assert found.figures == {
        "hostile-records": 2,
        "hostile-delay": share,
        "hostile-lost": 1,
        "hostile-wrong": 1,
    }
    assert found.failures == ["the order worker ended with 70"]
    assert json.loads(json.dumps(dict(found.data)))["seed"] == 4


KNOWN = {api: Known(api=api, topics=("consent-events",)) for api in Api}


@pytest.mark.parametrize("api", Api)
def test_hostile_request_is_the_same_for_the_same_seed(api: Api) -> None:
    """What did harm can be made again, alone; every kind comes up."""
    made = [hostile_request(1, number, KNOWN[api]) for number in range(400)]
    assert made[7] == hostile_request(1, 7, KNOWN[api]) != hostile_request(2, 7, KNOWN[api])
    assert {one.kind for one in made} == kinds_of(api)


def test_lawful_request_is_whole() -> None:
    """What is made hostile is right otherwise."""
    for one in TARGETS.values():
        body = one.lawful(3)
        head, _, rest = request(one, body=body).partition(b"\r\n\r\n")
        assert rest == body
        assert head.startswith(f"{one.method} {one.path} HTTP/1.1\r\nHost: test\r\n".encode())


def _answer(status: int, body: bytes = b"x") -> bytes:
    return b"HTTP/1.1 %d Any\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_answers_are_counted_with_and_without_bodies() -> None:
    """A text in a body is none; an answer to HEAD has a length and no body."""
    lie = b"HTTP/1.1 500 No\r\n\r\n"
    read = b"HTTP/1.1 100 Continue\r\n\r\n" + _answer(200, b"x" + lie) + _answer(422)
    assert [*statuses_of(read)] == [200, 422]
    headless = _answer(405)[:-1]
    assert [*statuses_of(headless + headless)] == [405, 405]
    assert [*statuses_of(b"HTTP/1.1 200 OK\r\ncontent-")] == []


def test_campaign_finds_what_must_not_be() -> None:
    """A check that cannot fail says nothing."""
    found = Answers()
    note(found, 1, HostileRequest(kind="body", content=b"", answers=1), _answer(500))
    note(found, 2, HostileRequest(kind="body", content=b"", answers=1), b"")
    note(found, 3, HostileRequest(kind="lengths", content=b""), _answer(200) * 2)
    note(found, 4, HostileRequest(kind="lengths", content=b"", status=400), _answer(202))
    assert [one.partition(": b'")[0] for one in found.faults] == ["request 1 (body): 500"]
    assert found.wrong == [
        "request 2 (body): 0 of 1 answers",
        "request 3 (lengths): 2 answers, 1 at most",
        "request 4 (lengths): [202], not 400",
    ]
    assert found.statuses == {"body 500": 1, "body -": 1, "lengths 200": 2, "lengths 202": 1}


def test_figures_are_of_the_worst_api() -> None:
    """The neighbour's is the median of three, of a limit of twice that without, or of 50 ms."""
    gate = requests.ApiVerdict(sent=9, pairs=[a_pair(4, 40), a_pair(4, 45), a_pair(4, 500)])
    feeds = requests.ApiVerdict(sent=8, pairs=[a_pair(100, 150)], failed=["ended"])
    feeds.answers.faults.append("request 1")
    found = requests.report({Api.GATE: gate, Api.FEEDS: feeds}, seed=4, seconds=1)
    figures = {"requests": 8, "requests-5xx": 1, "requests-neighbour-p99-ms": 45}
    assert (found.figures, found.failures, feeds.p99) == (figures, ["ended"], 37.5)
    assert json.loads(json.dumps(dict(found.data)))["seed"] == 4


_HISTORIES = 800
OPEN = Permission(may_send=True, reason=PermissionReason.REGISTERED)


def test_no_generated_history_hides_an_opt_out():
    """Every act is done, and opt-outs are due again behind void opt-ins."""
    verdict = property_.part(seed="suite", histories=_HISTORIES)
    assert (verdict.unexplained, verdict.counts["settled"]) == ([], _HISTORIES // 4)
    assert verdict.counts["due_again"] > _HISTORIES // 100
    assert len(verdict.kinds) == len({*ACTS})


def test_histories_are_the_same_for_the_same_seed():
    """In however many parts they are joined."""
    joined, again = property_.PropertyVerdict(), property_.PropertyVerdict()
    for number in range(2):
        for one in (joined, again):
            one.add(property_.part(seed=f"7/{number}", histories=20))
    assert joined == again
    figures = property_.report(joined, seed=7, seconds=1).figures
    assert figures == {
        "property-histories": 40,
        "property-unexplained": 0,
        "property-compared": 2,
        "property-disagreements": 0,
    }


def _never(_: ConsentRow) -> bool:
    return False


def _without_unknown(state: RegisteredState, latest_ret_at: object) -> bool:
    return state.value == "ONAY" and not state.is_after(latest_ret_at)


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (apply, "is_due_again", _never),
        (apply, "under", lambda *_: {}),
        (RegisteredState, "may_be_older_onay", _without_unknown),
        (ConsentRow, "permission_by_law", OPEN),
    ],
)
def test_ledger_without_the_rule_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, mutant: object
):
    """Without the rule, without what it keeps, without what nobody has seen, or with a gate that is
    open to all.
    """
    monkeypatch.setattr(owner, name, mutant)
    verdict = property_.part(seed="mutants", histories=_HISTORIES)
    if name == "under":  # every opt-out is forgotten, and rescued
        assert verdict.counts["due_again"] < _HISTORIES // 100
    else:
        assert verdict.counts["violations"] > 0
        assert "latest opt-out" in verdict.unexplained[0]


HISTORIES = 100
STEPS = 25


def compared(seed: int) -> property_.RecordedHistory:
    """Return a generated history, compared after each act."""
    history = property_.RecordedHistory(Random(seed))
    for _ in range(STEPS):
        history.step()
        history.compare()
    return history


def test_all_readers_of_a_history_say_the_same() -> None:
    """What is desired, what İYS holds, and whether a message may be sent, and why."""
    kinds = {row.columns.kind for seed in range(HISTORIES) for row in compared(seed).rows}
    assert kinds == {"decision", "bootstrap", "call", "answer", "observation", "outcome"}


def saved(consent_date: str, creation_date: str) -> Any:  # noqa: ANN401 - a stand-in of a Movement
    """Return a saved movement of İYS as the verdict reads it."""
    return SimpleNamespace(
        type="MESAJ",
        recipient="+905550000001",
        status="ONAY",
        consent_date=consent_date,
        creation_date=creation_date,
    )


def test_a_consent_saved_after_its_term_is_late():
    """Given on Tuesday morning; the half day and the holiday do not count, the weekend neither."""
    in_time = days.saved_terms([saved("2026-10-27 10:00:00", "2026-11-02 09:59:59")])
    assert in_time == days.SavedTerms(late=(), tightest=timedelta(seconds=1), over_the_holiday=1)
    assert len(days.saved_terms([saved("2026-10-27 10:00:00", "2026-11-02 10:00:01")]).late) == 1


def test_a_movement_saved_twice_or_out_of_order_is_found():
    """A duplicate, and an older movement after a newer one."""
    one, other = saved("2026-10-27 10:00:00", ""), saved("2026-10-27 10:00:01", "")
    assert [len(days.repeated(some)) for some in ([one, other], [one, one], [other, one])] == [
        0,
        1,
        1,
    ]


def test_the_most_calls_within_any_hour_are_counted():
    """Wherever the hour begins."""
    instants = range(0, 3600, 360)
    assert [days.most_an_hour(some) for some in ([*instants, 3600], [*instants, 3599], [])] == [
        10,
        11,
        0,
    ]


def test_virtual_ledger_overrides_methods_that_the_ledger_has() -> None:
    """Where the ledger names one anew, the campaigns would read the clock of the database."""
    own = {name for name, value in vars(TimedLedger).items() if callable(value)} - {"_instant"}
    assert own >= {"reading", "fetch", "session"}
    assert own <= vars(Ledger).keys()


def test_virtual_time_passes_only_while_nothing_works():
    """An hour's sleep is over at once; while a thread works, no time passes at all."""

    async def main(loop: virtual.VirtualLoop) -> tuple[float, float]:
        asleep = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(sum, range(100_000))
        before = loop.time()
        await asleep
        return before, loop.time()

    before, after = virtual.run(main)
    assert (before, after) == (0.0, 3600.0)


def test_virtual_time_passes_for_sleepers_woken_early():
    """Two sleepers that check their instant again do not wake one another for ever."""

    async def main(loop: virtual.VirtualLoop) -> list[int]:
        async def until(instant: float, turns_behind: int) -> int:
            for _ in range(turns_behind):
                await asyncio.sleep(0)
            for looks in range(1000):
                left = instant - loop.time()
                if left <= 0:
                    return looks
                await asyncio.sleep(left)
            return 1000

        await asyncio.sleep(25_000)
        instant = loop.time() + 6e-10
        return await asyncio.gather(until(instant, 0), until(instant, 1))

    assert max(virtual.run(main)) < 10


def campaign_of(postgres: str, template: str) -> forgery.ForgeryCampaign:
    """Return a short campaign."""
    return forgery.ForgeryCampaign(
        postgres=postgres, template=template, seed=5, archives=40, ledgers=3, forgeries=130
    )


@pytest.mark.database
async def test_every_generated_forgery_is_found(postgres: str, ledger_template: str):
    """By each verifier that can see it, and nothing genuine has a fault."""
    found = await campaign_of(postgres, ledger_template).run()
    assert (found.missed, found.faults, found.archives, found.ledgers) == ([], [], 40, 3)
    assert found.found == found.forgeries >= 130
    assert {f"archive, {kind}" for kind in archives.KINDS} <= found.kinds.keys()
    assert len([one for one in found.kinds if one.startswith("ledger, ")]) > len(forger.KINDS) // 2
    figures = forgery.report(found, seed=5, seconds=1).figures
    assert (figures["forgery-found"], figures["forgery-missed"]) == (found.found, 0)


@pytest.mark.database
async def test_verifier_that_believes_an_act_is_found(
    postgres: str, ledger_template: str, monkeypatch: pytest.MonkeyPatch
):
    """A campaign that finds nothing missing says nothing."""
    monkeypatch.setattr(chain_check.Loss, "is_published", lambda *_: True)
    monkeypatch.setattr(forger, "KINDS", {"restoration": forger.KINDS["restoration"]})
    campaign = campaign_of(postgres, ledger_template)
    campaign.archives = campaign.ledgers = 1
    campaign.forgeries = 8
    assert any("ledger, restoration" in one for one in (await campaign.run()).missed)


def test_forged_archive_is_the_same_for_the_same_seed():
    """What was missed can be made again."""
    for kind in archives.KINDS:
        (_, one), (_, again) = (
            forgery.forged_archive(Random(f"same {kind}"), kind) for _ in range(2)
        )
        assert one == again


def test_verifier_that_reads_bytes_in_two_ways_is_found(monkeypatch: pytest.MonkeyPatch):
    """As one did whose salts had any length, so that an event's evidence stood as a row."""
    columns = property(lambda row: rows._Columns(*json.loads(row.text)))
    monkeypatch.setattr(EvidenceRow, "columns", columns)
    made, forged = forgery.forged_archive(Random(2), "stuffed")
    assert not archives.is_found(forged, made)


def test_report_of_a_campaign_names_what_was_missed():
    """With the seed that makes it again."""
    verdict = forgery.ForgeryVerdict(archives=1, ledgers=1)
    verdict.count("ledger, cut", "1/ledger/0", is_found=False)
    found = forgery.report(verdict, seed=1, seconds=2)
    assert "ledger, cut (seed 1/ledger/0)" in str(found.tables)
    assert found.figures["forgery-missed"] == 1
