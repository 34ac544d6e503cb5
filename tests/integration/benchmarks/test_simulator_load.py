"""A short load on the simulator."""

import json

from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.simulator.command import simulator
from benchmarks.simulator.load import batch_bodies


def test_a_short_load_has_no_error_and_is_reported():
    """A filled file is loaded twice, paced and as fast as it answers."""
    found = simulator(seconds=1, batches=1, records=1000)
    loads = found.data["loads"]
    assert [(one["consents"], one["errors"]) for one in loads] == [(10_000, 0), (1_000, 0)]
    assert all(one["cpu"] > 0 and one["consents_per_second"] > 0 for one in loads)
    assert found.data["file_bytes"] > 0
    assert (found.figures["simulator-errors"], found.failures) == (0, [])


def test_recipients_of_a_load_come_once():
    """A consent sent twice would be refused, and the load counted wrong."""
    first, second = batch_bodies(0, 2), batch_bodies(2000, 1)
    items = [item for body in (*first, *second) for item in json.loads(body)]
    assert len({item["recipient"] for item in items}) == len(items) == 3000


def test_a_state_in_memory_cannot_be_filled():
    """What is filled beforehand is a file."""
    assert CliRunner().invoke(app, ["simulator", "--in-memory", "--records", "1"]).exit_code == 2
