"""A short load on the simulator."""

import json
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.simulator import load


def test_a_short_load_is_borne_and_kept(tmp_path: Path):
    """A filled file is loaded twice without an error, and the figures are in the JSON."""
    kept = tmp_path / "simulator.json"
    words = ["simulator", "--seconds", "1", "--batches", "1", "--records", "1000"]
    ran = CliRunner().invoke(app, [*words, "--results", str(kept)])
    assert ran.exit_code == 0, ran.output
    told = json.loads(kept.read_text())
    assert [(one["consents"], one["errors"]) for one in told["loads"]] == [(10_000, 0), (1_000, 0)]
    assert all(one["cpu"] > 0 and one["consents_per_second"] > 0 for one in told["loads"])
    assert told["file_bytes"] > 0


def test_addresses_come_once():
    """A consent sent twice would be refused, and the load counted wrong."""
    first, second = load.bodies(0, 2), load.bodies(2000, 1)
    items = [item for body in (*first, *second) for item in json.loads(body)]
    assert len({item["recipient"] for item in items}) == len(items) == 3000


def test_memory_cannot_be_filled():
    """What is filled beforehand is a file."""
    ran = CliRunner().invoke(app, ["simulator", "--in-memory", "--records", "1"])
    assert ran.exit_code == 2
