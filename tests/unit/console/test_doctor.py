"""The doctor finds what is not there, says what to do, and never breaks over it."""

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from izin.consent.forecast import Owed
from izin.consent.model import Status
from izin.console.cli import app
from izin.console.doctor import command, lag_checks
from izin.console.doctor import runner as asking
from izin.console.doctor.consumer_lag import Unread
from izin.console.doctor.ledger_checks import Finding, State, of_backlog, of_brands, of_missing
from izin.console.doctor.runner import Check
from izin.iys import TokenPolicy
from izin.local import free_port
from izin.runtime import kafka
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.reads import Backlog, Parked
from izin.sinks.ledger.sequences import Missing
from izin.sinks.ledger.stream_progress import Heard
from tests.support.builders import BRAND, NOON

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every address lead nowhere, and no check wait long."""
    port = free_port()
    monkeypatch.setattr(kafka, "_TIMEOUT", 0.2)
    monkeypatch.setattr(command, "_TIMEOUT", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://izin:not-a-secret@127.0.0.1:{port}/izin")
    monkeypatch.setenv("IYS_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("IYS_USERNAME", "ada")
    monkeypatch.setenv("IYS_PASSWORD", "not-a-secret")
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)


def found(*options: str) -> tuple[int, Mapping[str, Mapping[str, str]], str]:
    """Return the exit code, the findings by check, and all that was printed."""
    shown = RUNNER.invoke(app, ["doctor", "--output", "json", *options])
    return shown.exit_code, {one["check"]: one for one in json.loads(shown.stdout)}, shown.output


@pytest.mark.parametrize("options", [(), ("--fix",)])
def test_what_cannot_be_reached_is_named_with_its_setting(options: tuple[str, ...]) -> None:
    """Each part that is away is one finding with its cure, and no secret is told."""
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


def test_what_is_not_set_is_skipped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part nobody configured is no fault."""
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
    ],
)
def test_a_setting_that_cannot_be_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    """A value that makes no sense is a finding of the check that needs it."""
    monkeypatch.setenv(name, value)
    code, findings, _ = found()
    assert code == 1
    assert findings[check]["state"] == "wrong"
    assert name in findings[check]["what"]


def test_a_database_that_is_frozen_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets in and answers nothing: that is one finding, and nothing else asks it again."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"postgresql://izin:not-a-secret@127.0.0.1:{frozen.getsockname()[1]}/izin"
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setattr(command, "_TIMEOUT", 2.0)
        _, findings, printed = found()
        frozen.settimeout(0.1)
        asked = 0
        while not _nobody_comes(frozen):
            asked += 1
    assert findings["database"]["state"] == "wrong"
    for check in ("migrations", "sink", "deadlines", "brands", "sequences"):
        assert findings[check]["state"] == "skipped"
    assert asked == 1
    assert "not-a-secret" not in printed


def _nobody_comes(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return True
    return False


def test_a_ledger_that_falls_silent_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of it has a limit, too."""
    monkeypatch.setattr(command, "_ANSWERS_WITHIN", 0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(command._within(asyncio.sleep(60)))
    (one,) = asking.findings([Check(name="slow", ask=_silent)], fix=False)
    assert (one.state, one.what.partition(";")[0]) == (State.WRONG, "no answer in time")


def _silent(fix: bool) -> Iterator[Finding]:
    del fix
    raise TimeoutError
    yield


def _stumbling(fix: bool) -> Iterator[Finding]:
    yield Finding(check="stumbling", state=State.OK, what=f"asked to mend: {fix}")
    raise ZeroDivisionError("not-a-secret")


def test_a_check_that_stumbles_is_a_finding() -> None:
    """Whatever it is that nobody foresaw, the others are made all the same."""
    checks = [
        Check(name="stumbling", ask=_stumbling),
        Check(name="needy", ask=_stumbling, needs=frozenset({"stumbling"})),
        Check(name="needier", ask=_stumbling, needs=frozenset({"needy"})),
        Check(name="last", ask=_silent),
    ]
    told = list(asking.findings(checks, fix=True))
    assert [(one.check, one.state) for one in told] == [
        ("stumbling", State.OK),
        ("stumbling", State.WRONG),
        ("needy", State.SKIPPED),
        ("needier", State.SKIPPED),
        ("last", State.WRONG),
    ]
    assert told[0].what == "asked to mend: True"
    assert "ZeroDivisionError" in told[1].what
    assert "not-a-secret" not in told[1].what


def test_each_finding_is_printed_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who waits for a check sees what those before it found."""
    seen: list[str] = []

    def looking(fix: bool) -> Iterator[Finding]:
        del fix
        seen.append(capsys.readouterr().out)
        yield Finding(check="second", state=State.OK, what="[red]no markup[/red]")

    checks = (Check(name="first", ask=_silent), Check(name="second", ask=looking))
    monkeypatch.setattr(command, "_CHECKS", checks)
    with pytest.raises(typer.Exit):
        command.doctor()
    assert "first" in seen[0]
    assert "wrong" in seen[0]
    assert "[red]no markup[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reader", "cure"), [(lag_checks.SINK, "izin sink"), (lag_checks.ORDER, "izin stream")]
)
def test_a_reader_that_stands_still_is_seen(reader: lag_checks.Reader, cure: str) -> None:
    """A short lag is usual; what waits longer names the worker and what was compared."""
    short = Unread(records=7, oldest_at=NOW - timedelta(minutes=4))
    long = Unread(records=1200, oldest_at=NOW - timedelta(minutes=90))
    none = Unread(records=0, oldest_at=None)
    assert lag_checks.of_unread(reader, [none, none], now=NOW).state is State.OK
    usual = lag_checks.of_unread(reader, [short, none], now=NOW)
    assert (usual.state, usual.what[:8]) == (State.OK, "about 7 ")
    still = lag_checks.of_unread(reader, [short, long], now=NOW)
    assert still.state is State.WRONG
    assert still.what.startswith(
        f"about 1207 {reader.records} are not read, the oldest of 02.03.2026 10:30:00, 90 minutes"
    )
    assert f"compared: {reader.compared}" in still.what
    assert cure in still.what


def test_dead_letters_of_the_last_day_are_counted() -> None:
    """With the command that shows them."""
    assert lag_checks.of_dead_letters(0).state is State.OK
    some = lag_checks.of_dead_letters(3)
    assert (some.state, some.what[:2]) == (State.WRONG, "3 ")
    assert some.what.endswith("izin dead-letters")


@pytest.mark.parametrize(
    ("status", "state"),
    [(401, State.OK), (403, State.WRONG), (404, State.WRONG), (200, State.WRONG)],
)
def test_only_iys_asks_for_a_token(status: int, state: State) -> None:
    """Without a token İYS says 401; any other answer is told with what may be wrong."""
    one = command._of_iys("https://iys.example.com", status)
    assert one.state is state
    assert (str(status) in one.what) is (state is State.WRONG)


NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def owed(count: int, *, status: Status = Status.ONAY, hours: float = 1) -> Owed:
    """Return a group that is due so many hours from now, and if ONAY offered for an hour more."""
    due_at = NOW + timedelta(hours=hours)
    expires_at = due_at + timedelta(hours=1) if status is Status.ONAY else None
    return Owed(status=status, due_at=due_at, expires_at=expires_at, count=count)


def deadlines(*telling: Owed, held: tuple[Owed, ...] = ()) -> list[tuple[State, str]]:
    """Return what the doctor says of a backlog at a record a second."""
    backlog = Backlog(telling=telling, held=held)
    return [(one.state, one.what) for one in of_backlog(backlog, now=NOW, pace=1)]


def test_a_backlog_that_fits_is_well() -> None:
    """All in time, with the end in Turkish time; nothing to tell is well too."""
    assert deadlines(owed(3600)) == [
        (
            State.OK,
            "3600 records to tell, all in time at 1 a second, the last by 02.03.2026 13:00:00",
        )
    ]
    assert deadlines() == [(State.OK, "0 records to tell, all in time at 1 a second")]


def test_a_backlog_that_does_not_fit_is_told_with_its_cure() -> None:
    """First what is lost and when the first is, then what is merely late."""
    (lost, first), (late, then) = deadlines(owed(10_000))
    assert lost is late is State.WRONG
    assert first.startswith("2800 ONAY expire before they can be told, the first at 02.03.2026 14:")
    assert "IYS_EGRESS_ADDRESS" in first
    assert then.startswith(
        "3600 records are told after they are due, the first due at 02.03.2026 13"
    )


def test_late_opt_outs_are_late_and_not_lost() -> None:
    """A rejection never expires."""
    ((state, what),) = deadlines(owed(10, status=Status.RET, hours=-1))
    assert (state, what.partition(",")[0]) == (
        State.WRONG,
        "10 records are told after they are due",
    )


def test_what_is_kept_from_iys_is_told_apart() -> None:
    """A stop is no matter of pace: the cure is another."""
    ((state, what),) = deadlines(held=(owed(7, status=Status.RET), owed(5, hours=3)))
    assert state is State.WRONG
    assert what == (
        "12 records are kept from İYS; 7 of them opt-outs, the first due at 02.03.2026 13:00:00: "
        "izin deadlines opt-outs writes what a person withdraws; 5 of them ONAY that expire, "
        "the first at 02.03.2026 16:00:00; see: izin brands stops, izin brands list"
    )
    ((_, what),) = deadlines(held=(owed(5),))
    assert what.startswith("5 records are kept from İYS; 5 of them ONAY")


def test_events_that_never_came_are_named_with_their_cure() -> None:
    """Each origin is told of by its first missing number and since when; none is well."""
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
    told = [one.what for one in of_missing([crm, web])]
    assert told[0].startswith(
        "crm of acme: number 41 and 2 more in 2 gaps never came, since 02.03.2026 12:00:00; "
    )
    assert told[0].endswith("8 before are no longer looked for: do its numbers run one by one?")
    assert "number 41 never came" in told[1]
    assert told[1].endswith(
        "izin sequences close --customer acme --origin web --until 41 (or a later number)"
    )
    (well,) = of_missing([])
    assert well.state is State.OK


def of_these(*brands: Brand, parked: tuple[Parked, ...] = ()) -> list[str]:
    """Return what the doctor says of these brands."""
    found = list(of_brands(brands, parked, policy=TokenPolicy(), now=NOW))
    assert {one.state for one in found} <= {State.WRONG}
    return [one.what for one in found]


def test_brands_that_need_a_person_are_named() -> None:
    """A subscription that ends, and what is parked; else there is nothing to say."""
    brand = Brand(brand_code=1, iys_code=1, customer_id="acme", name="One", subscription="ACTIVE")
    assert of_these(brand) == []
    parked = Parked(
        brand_code=1, channel="MESAJ", desired_status="ONAY", why="reconsent", code=None, keys=3
    )
    ending = replace(brand, subscription_ends_at=NOW + timedelta(days=3))
    subscription, waiting = of_these(ending, parked=(parked,))
    assert subscription == "subscription of brand 1: it ends on 2026-03-05; renew or enlarge it"
    assert waiting == "3 records wait for a person; see: izin brands parked"


def test_more_accounts_than_an_address_gets_tokens_for_are_told() -> None:
    """Ten token calls an hour keep nineteen accounts: the twentieth would fall silent with all."""
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


def test_a_stream_that_is_not_read_is_named():
    """A citizen's "no" waits in it."""
    heard = Heard(brand_code=BRAND, stream="IYS", heard_at=NOON)
    assert lag_checks.of_heard([], now=NOON).state is State.SKIPPED
    assert lag_checks.of_heard([heard], now=NOON + timedelta(hours=6)).state is State.OK
    silent = lag_checks.of_heard([heard], now=NOON + timedelta(hours=7))
    assert silent.state is State.WRONG
    assert f"IYS of {BRAND}" in silent.what
