"""The suite's one campaign, with few faults; each of them falls with ``make chaos STAGE=sink``.

What of an opt-out's delay counts, and that the bar can be missed.
Decisions that are cut from bytes are those that the order stage would have written.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.stack.report import DesiredState, compare
from izin.stack.scenario import LedgerState
from tests.chaos.pipeline import CampaignServers
from tests.chaos.sink.__main__ import LIGHT, SinkCampaign, report
from tests.chaos.sink.decision_source import DecisionSource
from tests.chaos.sink.injector import WEIGHTS, SinkFault
from tests.chaos.sink.verdict import (
    DATABASE,
    IYS,
    MOST,
    Interval,
    OptOut,
    OptOutDelays,
    Outages,
    SinkVerdict,
    common,
    measure,
    misplaced_movements,
    submissions_of,
    union,
)
from tests.chaos.test_harness import short_figures
from tests.support.simulator import running_simulator

FAULTS = dict.fromkeys(
    (
        SinkFault.KILL,
        SinkFault.FREEZE,
        SinkFault.CLOCK,
        SinkFault.SILENT_DATABASE,
        SinkFault.DATABASE,
        SinkFault.LOST_AFTER,
        SinkFault.RECORDS,
        SinkFault.HELD_BACK,
    ),
    1,
)
"""Each once: a process, its clock, its network, the server, a call, what it reads."""


@pytest.mark.broker
@pytest.mark.database
async def test_sinks_under_faults_end_where_iys_does(
    kafka: str, topic_prefix: str, database_url: str, tmp_path: Path
) -> None:
    """Register, ledger and topics agree; nothing was saved twice or out of order."""

    def end_sessions() -> None:
        """End them as a restart does: the suite's other tests need the server."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with running_simulator(tmp_path) as simulator:
        campaign = SinkCampaign(
            servers=CampaignServers(
                settings=KafkaSettings(
                    bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2
                ),
                database_url=database_url,
                simulator=simulator,
                folder=tmp_path,
                restart_broker=lambda: None,
                restart_database=end_sessions,
            ),
            load=LIGHT,
            seed=7,
            workers=2,
            kinds=FAULTS,
            pause=(0.1, 0.6),
            hold=(0.5, 1.5),
        )
        found = await campaign.run(len(FAULTS))
    assert (found.unexplained, found.keys) == ((), LIGHT.keys)
    assert min(found.movements, found.opt_outs) > 0
    assert campaign.injected == FAULTS


@pytest.mark.parametrize(
    ("unexplained", "short"), [((), set()), (("a key differs",), {"sink-unexplained"})]
)
def test_a_campaign_with_a_difference_is_short_and_ends_with_1(
    unexplained: tuple[str, ...],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unexplained differences are in the last line and in the exit code."""
    fields: dict[str, Any] = dict.fromkeys(SinkVerdict.__dataclass_fields__, 0)
    verdict = SinkVerdict(
        **fields | {"unexplained": unexplained, "delays": OptOutDelays(), "slow": ()}
    )
    campaign: Any = SimpleNamespace(
        injected=Counter(), timeline=[], workers=3, seed=1, outstanding=[2, 1], load=LIGHT
    )
    assert short_figures("sink", report(campaign, verdict, seconds=1), tmp_path, capsys) == short


def test_a_movement_saved_twice_or_out_of_order_is_found() -> None:
    """The verdict can fail: a repetition, and an older movement after a newer one."""
    one = {"recipient": "+905550000001", "status": "ONAY", "consentDate": "2026-03-02 12:00:00"}
    older = {**one, "status": "RET", "consentDate": "2026-03-02 11:00:00"}
    assert [len(misplaced_movements(some)) for some in ([one], [one, one], [one, older])] == [
        0,
        1,
        1,
    ]


def test_a_ret_that_iys_does_not_hold_is_a_difference() -> None:
    """The comparison can fail: desired RET, and the register has ONAY."""
    key = "100001/MESAJ/BIREYSEL/+905550000001"
    kept = LedgerState(desired="RET", registered="RET", state="accepted")
    found = compare({key: DesiredState("RET", "event-1")}, {key: kept}, {key: "ONAY"}, {key: False})
    assert found.differences


def test_every_fault_has_a_weight() -> None:
    """One without would never be injected."""
    assert set(WEIGHTS) == set(SinkFault)


KEY = "100001/MESAJ/BIREYSEL/+905550000001"
DATE, LATER = "2026-03-02 12:00:00", "2026-03-02 12:01:00"


def an_opt_out(at: float = 100.0) -> OptOut:
    """Return an opt-out that was published at this instant."""
    return OptOut(key=KEY, event_id="event-1", consent_date=DATE, published_at=at)


def delays(
    *,
    submitted_at: float | None = None,
    date: str = DATE,
    settled_at: float | None = None,
    replaced_at: float | None = None,
    away: tuple[Interval, ...] = (),
    calls: tuple[Interval, ...] = (),
) -> OptOutDelays:
    """Return the delays of one opt-out, published at 100."""
    submissions = {} if submitted_at is None else {KEY: [(date, submitted_at)]}
    settled = {} if settled_at is None else {"event-1": settled_at}
    replaced = {} if replaced_at is None else {"event-1": replaced_at}
    return measure(
        [an_opt_out()],
        submissions=submissions,
        settled=settled,
        replaced=replaced,
        away=away,
        on_their_way={KEY: calls},
    )


def counted(found: OptOutDelays) -> list[float]:
    """Return the delays that count."""
    return [one.counted for one in found.delays]


def test_delay_over_the_bar_is_found() -> None:
    """The bar can be missed, by the slowest alone."""
    found = delays(submitted_at=100 + MOST + 1)
    assert found.slowest == MOST + 1
    assert [one.opt_out.event_id for one in found.over] == ["event-1"]
    assert found.longest(1) == found.over
    assert delays(submitted_at=100 + MOST).over == []


def test_outages_are_not_counted_and_each_instant_once() -> None:
    """Two that overlap, one before the opt-out, and one that goes on after its submission."""
    away = (Interval(90, 105), Interval(110, 120), Interval(139, 200))
    assert counted(delays(submitted_at=140, away=away)) == [40 - 5 - 10 - 1]
    call = (Interval(99, 112),)
    assert counted(delays(submitted_at=140, away=away, calls=call)) == [40 - 12 - 8 - 1]


def test_call_that_began_after_the_opt_out_excuses_nothing() -> None:
    """It should not have been made."""
    assert counted(delays(submitted_at=140, calls=(Interval(101, 130),))) == [40]


def test_opt_out_ends_with_a_newer_one_or_with_an_opt_in() -> None:
    """What stands for it, and what takes its place."""
    assert counted(delays(submitted_at=107, date=LATER)) == [7]
    replaced = delays(submitted_at=150, replaced_at=120)
    assert (counted(replaced), replaced.replaced) == ([20], 1)


def test_opt_out_that_iys_does_not_need_ends_with_its_outcome() -> None:
    """An opt-in long after it, or a newer opt-out, changes nothing."""
    unneeded = delays(settled_at=103, replaced_at=500, submitted_at=600, date=LATER)
    assert (counted(unneeded), unneeded.unneeded, unneeded.replaced) == ([3], 1, 0)
    submitted = delays(submitted_at=102, settled_at=103)
    assert (counted(submitted), submitted.unneeded) == ([2], 0)


def test_opt_out_without_any_end_was_lost() -> None:
    """It is no delay that could be averaged away."""
    assert (delays().lost, delays(settled_at=103).lost) == (["event-1"], [])


def test_batch_was_submitted_a_result_delay_before_its_movement() -> None:
    """A single add is registered at once; opt-ins are no submissions of an opt-out."""
    single = {
        "brandCode": 100001,
        "type": "MESAJ",
        "recipientType": "BIREYSEL",
        "recipient": "+905550000001",
        "consentDate": DATE,
        "occurredAt": 9000,
        "status": "RET",
        "requestId": None,
    }
    batch, opt_in = {"requestId": "one", "consentDate": LATER}, {"status": "ONAY"}
    found = submissions_of([single, single | batch, single | opt_in], result_delay=5)
    assert found == {KEY: [(DATE, 9.0), (LATER, 4.0)]}


def test_outage_of_all_workers_is_one_of_the_sinks() -> None:
    """One worker alone is none; PostgreSQL and İYS each are."""
    outages = Outages()
    outages.add("worker 0", Interval(10, 20))
    outages.add("worker 0", Interval(18, 30))
    outages.add("worker 1", Interval(25, 40))
    assert outages.of_all(["worker 0", "worker 1"]) == [Interval(25, 30)]
    outages.add(DATABASE, Interval(1, 2))
    outages.add(IYS, Interval(29, 33))
    assert outages.of_all(["worker 0", "worker 1"]) == [Interval(1, 2), Interval(25, 33)]


def test_outage_without_an_end_lasts_until_now() -> None:
    """A reason that is noted twice is one; another reason goes on after it."""
    outages = Outages()
    outages.begin("worker 0", "ended")
    outages.begin("worker 0", "ended")
    outages.begin("worker 0", "frozen")
    outages.end("worker 0", "ended")
    ((since, until),) = outages.of_all(["worker 0"])
    assert until >= since
    assert common([Interval(1, 3)], union([Interval(3, 4), Interval(2, 3)])) == [Interval(2, 3)]


BRANDS = (100001, 100002)


def a_source() -> tuple[DecisionSource, list[bytes]]:
    """Return a source, and the values of the records that it will produce."""
    source, kept = (
        DecisionSource(settings=KafkaSettings(partitions=4), brands=BRANDS),
        list[bytes](),
    )
    producer = Mock(**{"flush.return_value": 0})
    producer.produce = lambda _topic, *, value, **_: kept.append(value)
    source.__dict__["_producer"] = producer
    return source, kept


def decoded(kept: list[bytes]) -> list[dict[str, Any]]:
    """Return the kept records, decoded, without their coordinates."""
    return [Codec().decode("Decision", value) | {"offset": 0} for value in kept]


def test_opt_ins_cut_from_bytes_equal_encoded_ones() -> None:
    """Brand, partition, key and event; the offset may need more bytes than the template's."""
    source, kept = a_source()
    source.opt_in(range(300))
    other, encoded = a_source()
    other._began = source._began
    other.publish(*((other.key(number), "ONAY") for number in range(300)))
    assert decoded(kept) == decoded(encoded)
    assert max(Codec().decode("Decision", one)["offset"] for one in kept) > 63


def test_opt_out_follows_an_opt_in_that_was_cut_from_bytes() -> None:
    """The state of a bulk is its template until then; the delay runs from the opt-out on."""
    source, kept = a_source()
    source.opt_in(range(4))
    key = source.key(3)
    source.publish((key, "RET"))
    source.publish((key, "ONAY"))
    (opt_out,) = source.opt_outs
    event_id = f"{key.rpartition('/')[2]}-2"
    assert (opt_out.key, opt_out.event_id, [*source.replaced]) == (key, event_id, [event_id])
    assert source.published == len(kept) == 6
    last = decoded(kept)[-1]
    assert last["consent"]["latest_onay_at"] > last["consent"]["latest_ret_at"]


def test_junk_is_undecodable_or_poisonous() -> None:
    """A key too long for an index can be read, and PostgreSQL refuses it."""
    source, kept = a_source()
    source.publish_junk([b"junk", source.poisonous(1)])
    with pytest.raises(UndecodableError):
        Codec().decode("Decision", kept[0])
    assert len(Codec().decode("Decision", kept[1])["consent"]["recipient"]) > 10_000
