"""The doctor finds what is missing, prints the remedy, and never fails because of it."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.doctor import checks, faults, finding
from izin.cli.doctor.faults import (
    Unread,
    of_automatic,
    of_backlog,
    of_brands,
    of_granted,
    of_memory,
    of_missing,
    of_token,
)
from izin.cli.doctor.finding import Check, CheckState, DoctorFinding, fixed, ok
from izin.consent import Status
from izin.consent.forecast import DueGroup
from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
)
from izin.iys.tokens import TokenPolicy
from izin.kafka import clients
from izin.ledger.offsets import Held
from izin.ledger.reads import Backlog, Memory, Parked
from izin.ledger.record import Brand
from izin.ledger.registry.granted import STALE_AFTER, ListReading, LostRight
from izin.ledger.sequences import Missing
from izin.ledger.stream_progress import PulledStream
from izin.local import free_port
from izin.schemas.fast import BUILD
from tests.support.builders import BRAND, NOON, a_brake


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every address lead nowhere, and no check wait long."""
    port = free_port()
    monkeypatch.setattr(clients, "TIMEOUT", 0.2)
    monkeypatch.setattr(checks, "_TIMEOUT", 0.2)
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
        "DATABASE_URL": f"postgresql://izin:not-a-secret@127.0.0.1:{port}/izin",
        "IYS_BASE_URL": f"http://127.0.0.1:{port}",
        "IYS_USERNAME": "ada",
        "IYS_PASSWORD": "not-a-secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)


def found(*options: str) -> tuple[int, Mapping[str, Mapping[str, str]], str]:
    """Return the exit code, the findings by check, and all that was printed."""
    shown = CliRunner().invoke(app, ["doctor", "--output", "json", *options])
    return shown.exit_code, {one["check"]: one for one in json.loads(shown.stdout)}, shown.output


def test_doctor_says_how_the_hot_path_runs() -> None:
    """Interpreted it has half the speed, and nothing else tells; nor how it is compiled."""
    _, findings, _ = found()
    assert findings["build"] == {"check": "build", "state": "ok", "what": checks._build(BUILD)}
    assert checks._build("compiled") == "the hot path is compiled"
    assert re.match(r"the hot path is interpreted, .+: make wheel", checks._build("interpreted"))


@pytest.mark.parametrize("options", [(), ("--fix",)])
def test_doctor_names_the_setting_of_what_is_away(options: tuple[str, ...]) -> None:
    """Each part that is away is one finding with its remedy, and no secret is printed."""
    code, findings, printed = found(*options)
    assert code == 1
    for check, setting in (
        ("broker", "KAFKA_BOOTSTRAP_SERVERS"),
        ("database", "DATABASE_URL"),
        ("iys", "IYS_BASE_URL"),
    ):
        assert findings[check]["state"] == "wrong"
        assert setting in findings[check]["what"]
    for check, needs in (("topics", "broker"), ("deadlines", "database"), ("sink", "broker")):
        assert findings[check]["state"] == "skipped"
        assert needs in findings[check]["what"]
    assert findings["registry"]["state"] == "skipped"
    assert "not-a-secret" not in printed


def test_doctor_skips_and_names_what_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is not configured is no fault."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("IYS_USERNAME")
    _, findings, _ = found()
    assert findings["database"]["state"] == findings["iys"]["state"] == "skipped"
    assert "DATABASE_URL" in findings["database"]["what"]
    assert "IYS_USERNAME" in findings["iys"]["what"]


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("DATABASE_URL", "nonsense", "database"),
        ("IZIN_PARTITIONS", "0", "broker"),
        ("SCHEMA_REGISTRY_URL", "foo", "registry"),
        ("IYS_TIMEOUT", "soon", "iys"),
        ("SCHEMA_REGISTRY_URL", "http://izin:not-a-secret@registry.example.com", "broker"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "broker"),
        ("IZIN_PRODUCTION", "true", "broker"),
        ("IZIN_PRODUCTION", "true", "database"),
        ("IZIN_PRODUCTION", "true", "iys"),
    ],
)
def test_doctor_finds_a_setting_that_is_invalid(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    """A value that makes no sense is a finding of the check that needs it."""
    monkeypatch.setenv(name, value)
    code, findings, printed = found()
    assert code == 1
    assert findings[check]["state"] == "wrong"
    assert name in findings[check]["what"]
    assert "not-a-secret" not in printed


def test_doctor_waits_for_a_frozen_database_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections and never answers: that is one finding, and no check tries again."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"postgresql://izin:not-a-secret@127.0.0.1:{frozen.getsockname()[1]}/izin"
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setattr(checks, "_TIMEOUT", 2.0)
        _, findings, printed = found()
        frozen.settimeout(0.1)
        asked = 0
        while not _has_no_connection(frozen):
            asked += 1
    assert findings["database"]["state"] == "wrong"
    for check in ("migrations", "sink", "deadlines", "brands", "sequences"):
        assert findings[check]["state"] == "skipped"
    assert asked == 1
    assert "not-a-secret" not in printed


def _has_no_connection(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return True
    return False


def test_ledger_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query has a limit, too."""
    monkeypatch.setattr(checks, "_QUERY_TIMEOUT", 0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(checks._within(asyncio.sleep(60)))
    (one,) = finding.findings([Check(name="slow", run=_silent)], fix=False)
    assert (one.state, one.what.partition(";")[0]) == (CheckState.WRONG, "no answer in time")


def _silent() -> Iterator[DoctorFinding]:
    raise TimeoutError
    yield


def _fixing(_stopped: bool) -> Iterator[DoctorFinding]:
    yield fixed("failing", "something")


def _failing() -> Iterator[DoctorFinding]:
    yield from ()
    raise ZeroDivisionError("not-a-secret")


def test_check_with_an_unexpected_error_is_a_finding() -> None:
    """The other checks are made all the same, and the message is not printed."""
    made = [
        Check(name="failing", run=_failing, fix=_fixing),
        Check(name="dependent", run=_failing, needs=frozenset({"failing"})),
        Check(name="indirect", run=_failing, needs=frozenset({"dependent"})),
        Check(name="last", run=_silent),
    ]
    found = list(finding.findings(made, fix=True))
    assert [(one.check, one.state) for one in found] == [
        ("failing", CheckState.FIXED),
        ("failing", CheckState.WRONG),
        ("dependent", CheckState.SKIPPED),
        ("indirect", CheckState.SKIPPED),
        ("last", CheckState.WRONG),
    ]
    assert "ZeroDivisionError" in found[1].what
    assert "not-a-secret" not in found[1].what


def test_doctor_prints_each_finding_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings before a slow check are printed before it ends."""
    seen: list[str] = []

    def looking() -> Iterator[DoctorFinding]:
        seen.append(capsys.readouterr().out)
        yield ok("second", "[red]no markup[/red]")

    made = (Check(name="first", run=_silent), Check(name="second", run=looking))
    monkeypatch.setattr(checks, "CHECKS", made)
    with pytest.raises(typer.Exit):
        checks.doctor()
    assert "first" in seen[0]
    assert "wrong" in seen[0]
    assert "[red]no markup[/red]" in capsys.readouterr().out


@pytest.mark.parametrize("worker", [faults.SINK, faults.ORDER])
def test_of_worker_that_runs_is_wrong_where_records_wait_long(
    worker: faults.WorkerReading,
) -> None:
    """A short lag is usual; a longer one says what was compared."""
    short = Unread(records=7, oldest_at=NOW - timedelta(minutes=4))
    long = Unread(records=1200, oldest_at=NOW - timedelta(minutes=90))
    none = Unread(records=0, oldest_at=None)
    assert faults.of_worker(worker, [none], running=2, now=NOW) == ok(
        worker.check, f"2 run; no {worker.records} wait to be read"
    )
    usual = faults.of_worker(worker, [short, none], running=1, now=NOW)
    assert (usual.state, usual.what[:16]) == (CheckState.OK, "1 runs; about 7 ")
    still = faults.of_worker(worker, [short, long], running=1, now=NOW)
    assert still.state is CheckState.WRONG
    assert still.what.startswith(
        f"1 runs; about 1207 {worker.records} are not read, the oldest of 02.03.2026 10:30:00, 90 "
    )
    assert f"compared: {worker.compared}" in still.what


@pytest.mark.parametrize("worker", [faults.SINK, faults.ORDER])
def test_of_worker_that_does_not_run_names_its_command(worker: faults.WorkerReading) -> None:
    """Also where nothing waits: the next opt-out would."""
    none = Unread(records=0, oldest_at=None)
    found = faults.of_worker(worker, [none, none], running=0, now=NOW)
    assert found.state is CheckState.WRONG
    assert found.what.startswith(f"none runs (known by {worker.known_by})")
    assert f"start one: izin {worker.check};" in found.what


@pytest.mark.parametrize("check", ["intake", "feeds", "gate"])
@pytest.mark.parametrize(
    ("status", "state"),
    [(200, CheckState.OK), (503, CheckState.WRONG), (None, CheckState.WRONG)],
)
def test_of_endpoint_expects_that_it_is_ready(
    check: str, status: int | None, state: CheckState
) -> None:
    """One that does not answer is named with its settings."""
    found = faults.of_endpoint(check, "http://127.0.0.1:8081", status)
    assert (found.check, found.state) == (check, state)
    assert (f"IZIN_{check.upper()}_PORT" in found.what) is (status is None)


@pytest.mark.parametrize(
    ("letters", "acknowledged", "state", "parts"),
    [
        (0, 0, CheckState.OK, ("none in the last 24 hours needs a person",)),
        (3, 3, CheckState.OK, ("3 acknowledged",)),
        (3, 1, CheckState.WRONG, ("2 ", "dead-letters; ", "dead-letters show LETTER")),
        (3, None, CheckState.WRONG, ("3 ", "the ledger cannot be read")),
    ],
)
def test_of_dead_letters_counts_what_nobody_has_acknowledged(
    letters: int, acknowledged: int | None, state: CheckState, parts: tuple[str, ...]
) -> None:
    """With the commands that show them, and what to do."""
    found = faults.of_dead_letters(letters, acknowledged)
    assert found.state is state
    assert found.what.startswith(parts[0]) or state is CheckState.OK
    assert [one for one in parts if one not in found.what] == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (401, CheckState.OK),
        (429, CheckState.OK),
        (403, CheckState.WRONG),
        (404, CheckState.WRONG),
        (200, CheckState.WRONG),
    ],
)
def test_of_iys_expects_401_without_a_token(status: int, state: CheckState) -> None:
    """İYS responds with 401, or where the workers use up its limit with 429; any other status is
    reported with a possible cause.
    """
    one = checks.of_iys("https://iys.example.com", status)
    assert one.state is state
    assert (str(status) in one.what) is (state is CheckState.WRONG)


NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def waiting(count: int, *, status: Status = Status.ONAY, hours: float = 1) -> DueGroup:
    """Return a group that is due so many hours from now, and if ONAY offered for an hour more."""
    due_at = NOW + timedelta(hours=hours)
    expires_at = due_at + timedelta(hours=1) if status is Status.ONAY else None
    return DueGroup(status=status, due_at=due_at, expires_at=expires_at, count=count)


def deadlines(
    *ready: DueGroup, suspended: tuple[DueGroup, ...] = ()
) -> list[tuple[CheckState, str]]:
    """Return what the doctor finds about a backlog at a record a second."""
    backlog = Backlog(ready=ready, suspended=suspended)
    return [(one.state, one.what) for one in of_backlog(backlog, now=NOW, pace=1)]


def test_of_backlog_in_time_is_ok() -> None:
    """All in time, with the end in Turkish time; nothing to send is ok too."""
    assert deadlines(waiting(3600)) == [
        (
            CheckState.OK,
            "3600 records to send, all in time at 1 a second, the last by 02.03.2026 13:00:00",
        )
    ]
    assert deadlines() == [(CheckState.OK, "0 records to send, all in time at 1 a second")]


def test_of_backlog_too_large_has_its_remedy() -> None:
    """First what expires and when the first does, then what is only late."""
    (lost, first), (late, then) = deadlines(waiting(10_000))
    assert lost is late is CheckState.WRONG
    assert first.startswith("2800 ONAY expire before they can be sent, the first at 02.03.2026 14:")
    assert "IYS_EGRESS_ADDRESS" in first
    assert then.startswith(
        "3600 records are sent after they are due, the first due at 02.03.2026 13"
    )


def test_of_backlog_suspended_has_another_remedy() -> None:
    """A suspension has nothing to do with pace, so the remedy is another."""
    ((state, what),) = deadlines(suspended=(waiting(7, status=Status.RET), waiting(5, hours=3)))
    assert state is CheckState.WRONG
    assert what == (
        "12 records are suspended; 7 of them opt-outs, the first due at 02.03.2026 13:00:00: "
        "izin deadlines opt-outs writes what a person withdraws; 5 of them ONAY that expire, "
        "the first at 02.03.2026 16:00:00; see: izin brands suspensions, izin brands list"
    )
    ((_, what),) = deadlines(suspended=(waiting(5),))
    assert what.startswith("5 records are suspended; 5 of them ONAY")


def test_of_missing_names_each_origin_with_its_remedy() -> None:
    """Each origin has its first missing number and since when; none missing is ok."""
    crm = Missing(
        customer_id="acme",
        origin="crm",
        gaps=2,
        numbers=3,
        first_number=41,
        since=datetime(2026, 3, 2, 9, tzinfo=UTC),
        given_up=8,
    )
    web = replace(crm, origin="web", gaps=1, numbers=1, given_up=0)
    printed = [one.what for one in of_missing([crm, web])]
    assert printed[0].startswith(
        "crm of acme: number 41 and 2 more in 2 gaps never arrived, since 02.03.2026 12:00:00; "
    )
    assert printed[0].endswith("8 before are no longer looked for: are its numbers consecutive?")
    assert "number 41 never arrived" in printed[1]
    assert printed[1].endswith(
        "izin sequences close --customer acme --origin web --up-to 41 (or a later number)"
    )
    (well,) = of_missing([])
    assert well.state is CheckState.OK


def of_these(*brands: Brand, parked: tuple[Parked, ...] = ()) -> list[str]:
    """Return what the doctor finds about these brands."""
    found = list(of_brands(brands, parked, policy=TokenPolicy(), now=NOW))
    assert {one.state for one in found} <= {CheckState.WRONG}
    return [one.what for one in found]


def test_of_brands_names_those_that_need_a_person() -> None:
    """A subscription that ends, and parked records; otherwise no finding."""
    brand = Brand(brand_code=1, iys_code=1, customer_id="acme", name="One", subscription="ACTIVE")
    assert of_these(brand) == []
    parked = Parked(
        brand_code=1, channel="MESAJ", desired_status="ONAY", reason="reconsent", code=None, keys=3
    )
    ending = replace(brand, subscription_ends_at=NOW + timedelta(days=3))
    subscription, waiting = of_these(ending, parked=(parked,))
    assert subscription == "subscription of brand 1: it ends on 2026-03-05; renew or enlarge it"
    assert waiting == "3 records need a person, 0 of them opt-outs; see: izin brands parked"


def test_of_granted_names_old_lists_and_lost_rights() -> None:
    """One that was never read whole, and rights by brand; a call that İYS refused is no list."""
    asked = ListReading(account="ada", asked_at=NOON)
    assert [one.state for one in of_granted([asked], [], now=NOON)] == [CheckState.SKIPPED]
    read = replace(asked, tried_at=NOON, read_at=NOON)
    (well,) = of_granted([read], [], now=NOON + STALE_AFTER)
    assert (well.state, "02.03.2026" in well.what) == (CheckState.OK, True)
    never = replace(read, account="can", read_at=None, error="H363")
    lost = [
        LostRight(brand_code=BRAND, right=right, channel=channel, since=NOON)
        for right, channel in (("read", "MESAJ"), ("write", "ARAMA"), ("write", "MESAJ"))
    ]
    found = list(of_granted([read, never], lost, now=NOON + STALE_AFTER + timedelta(seconds=1)))
    assert {one.state for one in found} == {CheckState.WRONG}
    old, unread, read_right, write_right = (one.what for one in found)
    assert "granted to ada was not wholly read since" in old
    assert "granted to can was not wholly read yet (H363)" in unread
    assert "izin customers sync --execute" in unread
    assert f"brand {BRAND} may not read MESAJ at İYS since" in read_right
    assert f"brand {BRAND} may not write ARAMA MESAJ at İYS since" in write_right
    assert "izin deadlines opt-outs" in write_right


def test_of_held_says_since_when_and_why() -> None:
    """Nothing where the ledger is not held."""
    assert not [*faults.of_held(None)]
    (found,) = faults.of_held(Held(since=NOON, is_behind=True))
    assert (found.check, found.state) == ("sink", CheckState.WRONG)
    assert "lost transactions" in found.what


def test_suspensions_name_what_waits_and_both_orders() -> None:
    """With until when at most; of a decision that was cut off, that decision."""
    assert list(of_automatic([])) == []
    (finding,) = of_automatic([a_brake(source="the crm")])
    assert finding.state is CheckState.WRONG
    for words in (
        "5 opt-outs of the crm for brand 100001 are held back since 02.03.2026 12:00:00",
        "the first until 04.03.2026 12:00:00: 5 within an hour beside 15 opt-ins, over 20 %",
        "izin held-back release 100001 --origin 'the crm' --reason …",
        "izin held-back withdraw 100001 --origin 'the crm' --reason … --execute",
    ):
        assert words in finding.what
    (again,) = of_automatic([a_brake(decision="withdrawn", decided_by="ada", opted_in=0)])
    assert "beside no opt-in" in again.what
    assert "withdrawn by ada, and cut off; again: izin held-back withdraw" in again.what
    assert "izin held-back release" not in again.what


def test_of_brands_with_too_many_accounts_names_the_address() -> None:
    """Ten token calls an hour are enough for nineteen accounts, and not for twenty."""
    brands = [
        Brand(
            brand_code=number,
            iys_code=number,
            customer_id="acme",
            name="One",
            account=f"account-{number}",
            egress_address="192.0.2.1",
        )
        for number in range(1, 21)
    ]
    assert of_these(*brands[:19]) == []
    (what,) = of_these(*brands)
    assert what.startswith("20 accounts behind 192.0.2.1: İYS gives tokens to 19 at most")
    assert of_these(*(replace(one, account="account-1") for one in brands)) == []


def a_stream(stream: str = "IYS", **more: object) -> PulledStream:
    """Return a stream that was read to its end at noon."""
    return replace(PulledStream(brand_code=BRAND, stream=stream, last_pulled_at=NOON), **more)  # type: ignore[arg-type]


def of_pulls(*pulls: PulledStream, after: timedelta) -> list[DoctorFinding]:
    """Return what the doctor finds so long after noon."""
    return list(faults.of_pulls(pulls, now=NOON + after))


def test_of_pulls_names_a_stale_stream():
    """A citizen.s opt-out may wait in it."""
    assert of_pulls(after=timedelta())[0].state is CheckState.SKIPPED
    assert of_pulls(a_stream(), after=timedelta(hours=6))[0].state is CheckState.OK
    (stale,) = of_pulls(
        a_stream(),
        a_stream("HS", last_pulled_at=NOON + timedelta(hours=6)),
        after=timedelta(hours=7),
    )
    assert stale.state is CheckState.WRONG
    assert f"IYS of {BRAND}" in stale.what


def test_of_pulls_names_each_stream_that_pauses_or_was_never_read():
    """One that İYS refused waits for a quarter of an hour, whatever the others do."""
    minutes = timedelta(minutes=1)
    refused = a_stream(
        failing_since=NOON, failure="changes: H353", next_at=NOON + 15 * minutes, was_pulled=False
    )
    passing = a_stream("HS", failing_since=NOON, failure="changes: 503", next_at=NOON + minutes)
    assert [one.state for one in of_pulls(passing, after=minutes)] == [CheckState.OK]
    (one,) = of_pulls(passing, refused, after=minutes)
    assert one.state is CheckState.WRONG
    assert all(part in one.what for part in ("IYS of", "H353", "never read", "izin brands retry"))
    (one,) = of_pulls(passing, after=6 * minutes)
    assert "503" in one.what
    (one,) = of_pulls(a_stream(was_pulled=False), a_stream("HS"), after=6 * minutes)
    assert "never read to its end" in one.what


@pytest.mark.parametrize(
    ("error", "failures", "state", "says"),
    [
        (None, 0, CheckState.OK, "takes the calls"),
        (MisconfiguredError("brands"), 0, CheckState.OK, "takes the calls"),
        (ThrottledError("brands"), 0, CheckState.OK, "takes the calls"),
        (UnauthenticatedError("refused"), 1, CheckState.WRONG, "IYS_PASSWORD"),
        (TokenLimitError("no", retry_after=timedelta(minutes=9)), 4, CheckState.WRONG, "retry"),
        (TokenLimitError("no", retry_after=timedelta(hours=1)), 0, CheckState.WRONG, "takes no"),
        (BusyError("brands was not answered"), 0, CheckState.WRONG, "while that lasts"),
    ],
)
def test_of_token_tells_what_a_call_ended_with(
    error: CallError | None, failures: int, state: CheckState, says: str
):
    """A refused password is told from İYS's limit; any other answer shows that it was taken."""
    found = of_token(error, failures=failures, now=NOON)
    assert found.state is state
    assert says in found.what


@pytest.mark.parametrize(
    ("consents", "shared_buffers", "max_wal_size", "named"),
    [
        (900, 128, 1024, []),
        (3000, 1024, 4096, []),
        (3000, 128, 4096, ["at least shared_buffers = 1024MB,"]),
        (3000, 2048, 1024, ["at least max_wal_size = 4096MB,"]),
        (3000, 128, 1024, ["3,000 MB", "shared_buffers = 1024MB, max_wal_size = 4096MB,"]),
    ],
)
def test_doctor_finds_a_server_too_small_for_its_ledger(
    consents: int, shared_buffers: int, max_wal_size: int, named: list[str]
) -> None:
    """The default settings of PostgreSQL are enough for a small ledger only."""
    sizes = (one << 20 for one in (consents, shared_buffers, max_wal_size))
    (finding,) = of_memory(Memory(**dict(zip(Memory.__dataclass_fields__, sizes, strict=True))))
    assert finding.state is (CheckState.WRONG if named else CheckState.OK)
    assert all(one in finding.what for one in named)


def test_of_worker_names_opt_outs_that_nobody_decides() -> None:
    """Not after minutes only: members of the group may own their partition and do nothing."""
    fresh = Unread(records=2, oldest_at=NOW - timedelta(seconds=20), partitions=frozenset({3}))
    found = faults.of_worker(faults.ORDER, [fresh], running=3, now=NOW, undecided={3})
    assert found.state is CheckState.WRONG
    assert "nobody decides the opt-outs that wait in partition 3: none of them within 10 s" in (
        found.what
    )


@pytest.mark.parametrize(("limit", "state"), [(900_000, "wrong"), (15_000, "ok"), (None, "ok")])
def test_doctor_compares_how_long_transactions_may_be_open(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, state: str
) -> None:
    """Kafka's own limit is 15 minutes, for which a partition's opt-outs would wait."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.com:9092")
    monkeypatch.setattr(checks.clients, "admin", lambda _: SimpleNamespace(list_topics=dict))
    monkeypatch.setattr(checks.clients, "transaction_limit", lambda _: limit)
    (found,) = checks._broker()
    assert found.state == state
    assert state == "ok" or "transaction.max.timeout.ms is 900000" in found.what
