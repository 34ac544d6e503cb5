"""``izin up`` on a broker that deletes at once, and what tests ask of it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from tests.e2e.processes import izin

QUICK = ("--result-delay=1", "--hidden-window=1")
"""İYS answers sooner than in a run by hand."""
ENDED_WITHIN = 90
ROWS = "rows"
"""The folder of the order worker's state, in the stack's."""


def wait_for(process: subprocess.Popen[str]) -> None:
    """Return once ``izin up`` says that everything runs; fail the test if it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if "izin explain" in line:
            return
    pytest.fail(f"izin up ended: {process.communicate()[1]}")


@contextmanager
def a_stack(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``izin up`` until the block ends, also after a failure."""
    # In the environment, for our workers inherit it: so those that are left behind are found.
    process = izin(
        *("up", "--any-ports", *QUICK, *words),
        module="tests.e2e.hurried_izin",
        IZIN_STATE_DIR=str(folder),
        IZIN_STATE="rocksdb",
        IZIN_STATE_FOLDER=str(folder / ROWS),
    )
    try:
        wait_for(process)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=ENDED_WITHIN)


def environment_of(folder: Path) -> dict[str, str]:
    """Return the stack's settings, as its file has them."""
    lines = (folder / "environment").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    return {name: value.strip("'") for name, value in settings.items()}


def asked(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command with the stack's settings, in this process; return exit code and output."""
    ran = CliRunner().invoke(app, words, env=environment_of(folder))
    return ran.exit_code, ran.stdout


def in_ledger(folder: Path, recipient: str) -> tuple[str, str] | None:
    """Return what İYS holds for a recipient and the state of that, None where there is no row, or
    no answer.

    It is what tests poll: a command for each look would take the time that the workers need.
    """
    query = "SELECT registered, state FROM consents WHERE recipient = %s"
    try:
        with psycopg.connect(environment_of(folder)["DATABASE_URL"]) as connection:
            row = connection.execute(query, [f"+9{re.sub(r'[^0-9]', '', recipient)}"]).fetchone()
    except psycopg.OperationalError:
        return None
    return None if row is None else (row[0], row[1])
