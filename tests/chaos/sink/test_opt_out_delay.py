"""What of an opt-out's delay counts, and that the bar can be missed."""

from tests.chaos.sink.verdict import (
    DATABASE,
    IYS,
    MOST,
    Interval,
    OptOut,
    OptOutDelays,
    Outages,
    common,
    measure,
    submissions_of,
    union,
)

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
    row = {"brandCode": 100001, "type": "MESAJ", "recipientType": "BIREYSEL"}
    row |= {"recipient": "+905550000001", "consentDate": DATE, "occurredAt": 9000}
    single, batch = {**row, "status": "RET", "requestId": None}, {**row, "requestId": "one"}
    batch |= {"status": "RET", "consentDate": LATER}
    opt_in = {**row, "status": "ONAY", "requestId": None}
    found = submissions_of([single, batch, opt_in], result_delay=5)
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
