"""The sinks over a ledger, and rebuilds of it in this process."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from izin.ledger.db import Ledger
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.runtime.settings import LedgerSettings
from tests.integration.sinks.sink_harness import SinkHarness
from tests.support.servers.distribution import copy_database, drop_database


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    """Give where the plan is written."""
    return tmp_path / "plan.json"


@pytest.fixture
def rebuild(harness: SinkHarness, ledger_settings: LedgerSettings) -> LedgerRebuild:
    """Give rebuilds of the ledger of the harness, in this process."""
    return LedgerRebuild(
        ledger=harness.ledger, settings=ledger_settings, clock=harness.clock, workers=1
    )


@pytest.fixture
def new_settings(postgres: str, ledger_template: str) -> Iterator[LedgerSettings]:
    """Give settings that lead to an empty ledger beside that of the harness."""
    name = f"t{uuid4().hex[:12]}"
    yield LedgerSettings(database_url=SecretStr(copy_database(postgres, name, ledger_template)))
    drop_database(postgres, name)


@pytest.fixture
async def new_ledger(new_settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Give that ledger."""
    async with Ledger(new_settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        yield ledger
