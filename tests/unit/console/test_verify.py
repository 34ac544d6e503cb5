"""``izin verify``: one digest however work is shared, and a readable counterexample."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner, Result

from izin.console.cli import app
from izin.console.verify import command
from izin.schemas.records import event_to_avro
from tests.support.builders import NOON, PHONE, an_event, an_iys_event, an_iys_origin
from tests.unit.console.broken_laws import BROKEN, LAST_WINS

RUNNER = CliRunner()


def run_verify(*options: str) -> Result:
    """Run `izin verify` with these options."""
    return RUNNER.invoke(app, ["verify", *options])


def verified(*options: str) -> dict[str, Any]:
    """Return the JSON of a run without a counterexample."""
    shown = run_verify("--output", "json", *options)
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def a_file(folder: Path, *lines: object) -> str:
    """Write these events, or other lines, and return the path."""
    path = folder / "events.jsonl"
    written = (one if isinstance(one, str) else json.dumps(one, default=_plain) for one in lines)
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return str(path)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def test_verify_result_depends_on_seed_not_on_workers() -> None:
    """One process or two: the same digest. Another seed tries other sets."""
    one, two = (verified("--permutations", "300", "--events", "6", "--workers", n) for n in "12")
    assert one["digest"] == two["digest"]
    other = verified("--permutations", "300", "--events", "6", "--workers", "1", "--seed", "1")
    assert other["digest"] != one["digest"]


def test_verify_by_default_tries_both_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets, and a large one for every thousand; the table has both, and one digest."""
    monkeypatch.setattr(command, "LARGE", 200)
    found = verified("--permutations", "1001", "--workers", "1")
    small, large = found["series"]
    assert (small["set"], small["sets"], small["permutations"]) == ("2 to 8 events", 41, 1001)
    assert (large["set"], large["sets"], large["permutations"]) == ("200 events", 1, 2)
    assert found["counterexample"] is None
    shown = run_verify("--permutations", "1001", "--workers", "1")
    assert f"one digest: {found['digest']}" in shown.stdout
    assert small["digest"][:16] in shown.stdout
    assert command.PERMUTATIONS == 100 * command.PER_LARGE


@pytest.mark.parametrize("workers", ["1", "2"])
def test_verify_counterexample_as_json_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """Exit code 1; two events, two orders, both states, and masked recipients."""
    monkeypatch.setattr(command, "LAW", LAST_WINS)
    shown = run_verify("--output", "json", "--workers", workers, "--permutations", "100")
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert found["digest"] is None
    assert len(found["series"]) == 1
    clash = found["counterexample"]
    assert len(clash["events"]) == 2
    assert (clash["one"], clash["other"]) == ([[1, 2]], [[2, 1]])
    assert clash["one_state"] != clash["other_state"]
    keys = [one["key"] for one in clash["events"] + clash["one_state"] + clash["other_state"]]
    assert all("***" in key for key in keys)


def test_verify_counterexample_as_table_shows_differences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fields that differ come first, and the recipient is masked."""
    monkeypatch.setattr(command, "LAW", BROKEN["merge takes the first"][0])
    events = [an_event(), an_event(event_id="event-2")]
    path = a_file(tmp_path, *map(event_to_avro, events))
    monkeypatch.setattr(command.out, "width", 200)
    shown = run_verify("--from", path, "--permutations", "50", "--workers", "1")
    assert shown.exit_code == 1
    assert "the law does not hold: the two orders give different states" in shown.stdout
    assert "(1 2)" in shown.stdout
    assert "(1) + (2)" in shown.stdout
    assert "100001/MESAJ/BIREYSEL/+90***01" in shown.stdout
    assert PHONE not in shown.stdout
    lines = shown.stdout.splitlines()
    differing, equal = (
        next(at for at, line in enumerate(lines) if f" │ {name} " in line)
        for name in ("event_id", "status")
    )
    assert differing < equal


def test_verify_file_is_one_set(tmp_path: Path) -> None:
    """Its digest is of its events: neither seed nor number of permutations changes it."""
    events = [
        an_event(),
        an_event(event_id="event-2", status="RET", consent_date=None, received_at=None),
        an_iys_event(event_id="event-3", iys=an_iys_origin(transaction_id="t-1")),
    ]
    path = a_file(tmp_path, *map(event_to_avro, events), "")
    one = verified("--from", path, "--permutations", "60", "--workers", "1")
    two = verified("--from", path, "--permutations", "30", "--workers", "2", "--seed", "7")
    assert one["digest"] == two["digest"]
    assert one["series"][0]["sets"] == 1
    assert one["series"][0]["set"] == "3 events"
    fewer = verified("--from", a_file(tmp_path, event_to_avro(events[0])), "--permutations", "1")
    assert fewer["digest"] != one["digest"]


def test_verify_file_with_refused_events_counts_them(tmp_path: Path) -> None:
    """They have no effect, which is reported."""
    path = a_file(tmp_path, *map(event_to_avro, [an_event(), an_event(source=None)]))
    shown = run_verify("--from", path, "--permutations", "5", "--workers", "1")
    assert shown.exit_code == 0
    assert "1 of 2 events are refused" in shown.stderr


GOOD = event_to_avro(an_event())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2"),
        ("[]", "one JSON object"),
        (GOOD | {"colour": "red"}, "the schema has no colour"),
        (GOOD | {"consent_date": "2026-03-02T09:00:00"}, "consent_date has no offset"),
        (GOOD | {"consent_date": "yesterday"}, "line 2"),
        (GOOD | {"received_at": 7}, "line 2"),
        (GOOD | {"brand_code": "x"}, "line 2"),
        (GOOD | {"iys": {"stream": "IYS"}}, "line 2"),
        ({"event_id": "event-1"}, "line 2"),
    ],
)
def test_verify_file_with_a_wrong_line_names_it(tmp_path: Path, line: object, why: str) -> None:
    """Exit code 3: the author of the file must act, and learns which line."""
    shown = run_verify("--from", a_file(tmp_path, GOOD, line))
    assert shown.exit_code == 3
    assert why in " ".join(shown.stderr.split())


def test_verify_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are the source's fault, too."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    shown = run_verify("--from", str(path))
    assert shown.exit_code == 3
    assert "UTF-8" in shown.stderr


def test_verify_file_may_omit_defaults(tmp_path: Path) -> None:
    """A field with its default gives the same event as without it."""
    short = {
        name: GOOD[name] for name in ("event_id", "customer_id", "brand_code", "type", "recipient")
    } | {"status": "ONAY", "source": "HS_WEB", "origin": "web"}
    short |= {"consent_date": NOON.isoformat(), "received_at": NOON.isoformat()}
    full = GOOD | short
    one = verified("--from", a_file(tmp_path, short), "--permutations", "2", "--workers", "1")
    two = verified("--from", a_file(tmp_path, full), "--permutations", "2", "--workers", "1")
    assert one["digest"] == two["digest"]


def test_verify_file_without_receipt_dates_is_refused(tmp_path: Path) -> None:
    """An undated opt-out counts from its receipt, which nothing here has."""
    path = a_file(tmp_path, event_to_avro(an_event(received_at=None)))
    shown = run_verify("--from", path)
    assert shown.exit_code == 3
    assert "received_at" in shown.stderr


def test_verify_with_file_and_events_is_wrong_usage(tmp_path: Path) -> None:
    """Only one of the two options: exit code 2."""
    shown = run_verify("--from", a_file(tmp_path, GOOD), "--events", "5")
    assert shown.exit_code == 2
    assert "--from" in shown.stderr


@pytest.mark.parametrize("option", ["--events", "--permutations", "--workers"])
def test_verify_with_zero_of_anything_is_wrong_usage(option: str) -> None:
    """Zero of anything is wrong usage, for it would check nothing."""
    assert run_verify(option, "0").exit_code == 2


def test_verify_interrupted_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with exit code 130, and no digest."""

    def interrupted(*_args: object, **_options: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "try_law", interrupted)
    shown = run_verify("--workers", "1")
    assert shown.exit_code == 130
    assert "digest" not in shown.stdout
