"""``izin verify``: one digest however work is shared, and a counter-example that can be read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner, Result

from izin.console.cli import app
from izin.console.verify import command
from izin.schemas.records import event_to_avro
from tests.broken_laws import BROKEN, LAST_WINS
from tests.support.builders import NOON, PHONE, a_statement, an_event, an_iys_event

RUNNER = CliRunner()


def tried(*options: str) -> Result:
    """Return what `izin verify` with these options says."""
    return RUNNER.invoke(app, ["verify", *options])


def told(*options: str) -> dict[str, Any]:
    """Return the JSON of a run that finds no counter-example."""
    shown = tried("--output", "json", *options)
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def a_file(folder: Path, *lines: object) -> str:
    """Write these events, or lines that are none, and return where."""
    path = folder / "events.jsonl"
    written = (one if isinstance(one, str) else json.dumps(one, default=_plain) for one in lines)
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return str(path)


def _plain(held: object) -> object:
    return dict(held) if isinstance(held, Mapping) else str(held)


def test_the_result_hangs_on_the_seed_and_not_on_the_workers() -> None:
    """One process or two: the same digest. Another seed tries other sets."""
    one, two = (told("--permutations", "300", "--events", "6", "--workers", n) for n in "12")
    assert one["digest"] == two["digest"]
    other = told("--permutations", "300", "--events", "6", "--workers", "1", "--seed", "1")
    assert other["digest"] != one["digest"]


def test_both_series_are_tried_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets, and a large one for every thousand; a table says so, and prints one digest."""
    monkeypatch.setattr(command, "LARGE", 200)
    found = told("--permutations", "1001", "--workers", "1")
    small, large = found["series"]
    assert (small["a_set_has"], small["sets"], small["permutations"]) == ("2 to 8 events", 41, 1001)
    assert (large["a_set_has"], large["sets"], large["permutations"]) == ("200 events", 1, 2)
    assert found["counter_example"] is None
    shown = tried("--permutations", "1001", "--workers", "1")
    assert f"one digest: {found['digest']}" in shown.stdout
    assert small["digest"][:16] in shown.stdout
    assert command.PERMUTATIONS == 100 * command._A_LARGE_ONE


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_counter_example_is_shown_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """Exit code 1; two events, two orders, both states, and no recipient to be read."""
    monkeypatch.setattr(command, "THE_LAW", LAST_WINS)
    shown = tried("--output", "json", "--workers", workers, "--permutations", "100")
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert found["digest"] is None
    assert len(found["series"]) == 1
    clash = found["counter_example"]
    assert len(clash["events"]) == 2
    assert (clash["one"], clash["other"]) == ([[1, 2]], [[2, 1]])
    assert clash["one_state"] != clash["other_state"]
    keys = [held["key"] for held in clash["events"] + clash["one_state"] + clash["other_state"]]
    assert all("***" in key for key in keys)


def test_a_counter_example_is_a_table_for_people(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What differs stands first, states apart are told as such, and the recipient is masked."""
    monkeypatch.setattr(command, "THE_LAW", BROKEN["merge takes the first"][0])
    events = [an_event(), an_event(event_id="event-2")]
    path = a_file(tmp_path, *map(event_to_avro, events))
    monkeypatch.setattr(command.out, "width", 200)
    shown = tried("--from", path, "--permutations", "50", "--workers", "1")
    assert shown.exit_code == 1
    assert "the law does not hold: the two ways give different states" in shown.stdout
    assert "(1 2)" in shown.stdout
    assert "(1) + (2)" in shown.stdout
    assert "100001/MESAJ/BIREYSEL/+90***01" in shown.stdout
    assert PHONE not in shown.stdout
    lines = shown.stdout.splitlines()
    differing, alike = (
        next(at for at, line in enumerate(lines) if f" │ {name} " in line)
        for name in ("event_id", "status")
    )
    assert differing < alike


def test_a_file_is_one_set(tmp_path: Path) -> None:
    """Its digest is of its events: neither seed nor number of permutations changes it."""
    events = [
        an_event(),
        an_event(event_id="event-2", status="RET", consent_date=None, received_at=None),
        an_iys_event(event_id="event-3", iys=a_statement(transaction_id="t-1")),
    ]
    path = a_file(tmp_path, *map(event_to_avro, events), "")
    one = told("--from", path, "--permutations", "60", "--workers", "1")
    two = told("--from", path, "--permutations", "30", "--workers", "2", "--seed", "7")
    assert one["digest"] == two["digest"]
    assert one["series"][0]["sets"] == 1
    assert one["series"][0]["a_set_has"] == "3 events"
    fewer = told("--from", a_file(tmp_path, event_to_avro(events[0])), "--permutations", "1")
    assert fewer["digest"] != one["digest"]


def test_refused_events_of_a_file_are_counted(tmp_path: Path) -> None:
    """They claim nothing, and it is said so."""
    path = a_file(tmp_path, *map(event_to_avro, [an_event(), an_event(source=None)]))
    shown = tried("--from", path, "--permutations", "5", "--workers", "1")
    assert shown.exit_code == 0
    assert "1 of 2 events are refused" in shown.stderr


GOOD = event_to_avro(an_event())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2"),
        ("[]", "one JSON object"),
        (GOOD | {"colour": "red"}, "the contract has no colour"),
        (GOOD | {"consent_date": "2026-03-02T09:00:00"}, "consent_date has no offset"),
        (GOOD | {"consent_date": "yesterday"}, "line 2"),
        (GOOD | {"received_at": 7}, "line 2"),
        (GOOD | {"brand_code": "x"}, "line 2"),
        (GOOD | {"iys": {"stream": "IYS"}}, "line 2"),
        ({"event_id": "event-1"}, "line 2"),
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: object, why: str) -> None:
    """Exit code 3: whoever wrote the file must act, and is told where."""
    shown = tried("--from", a_file(tmp_path, GOOD, line))
    assert shown.exit_code == 3
    assert why in " ".join(shown.stderr.split())


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are the source's fault, too."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    shown = tried("--from", str(path))
    assert shown.exit_code == 3
    assert "UTF-8" in shown.stderr


def test_defaults_of_the_contract_may_be_left_out(tmp_path: Path) -> None:
    """What is written with its default is the same event as without."""
    short = {
        name: GOOD[name] for name in ("event_id", "customer_id", "brand_code", "type", "recipient")
    } | {"status": "ONAY", "source": "HS_WEB", "origin": "web"}
    short |= {"consent_date": NOON.isoformat(), "received_at": NOON.isoformat()}
    full = GOOD | short
    one = told("--from", a_file(tmp_path, short), "--permutations", "2", "--workers", "1")
    two = told("--from", a_file(tmp_path, full), "--permutations", "2", "--workers", "1")
    assert one["digest"] == two["digest"]


def test_a_file_without_any_receipt_cannot_be_judged(tmp_path: Path) -> None:
    """An undated "no" counts from its receipt, which nothing here would tell."""
    path = a_file(tmp_path, event_to_avro(an_event(received_at=None)))
    shown = tried("--from", path)
    assert shown.exit_code == 3
    assert "received_at" in shown.stderr


def test_events_are_made_or_read(tmp_path: Path) -> None:
    """Not both: exit code 2."""
    shown = tried("--from", a_file(tmp_path, GOOD), "--events", "5")
    assert shown.exit_code == 2
    assert "--from" in shown.stderr


@pytest.mark.parametrize("option", ["--events", "--permutations", "--workers"])
def test_nothing_is_tried_less_than_once(option: str) -> None:
    """Zero of anything is wrong usage, for a trial of nothing would prove nothing."""
    assert tried(option, "0").exit_code == 2


def test_a_run_that_is_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with exit code 130, and no digest."""

    def stopped(*_args: object, **_options: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "try_law", stopped)
    shown = tried("--workers", "1")
    assert shown.exit_code == 130
    assert "digest" not in shown.stdout
