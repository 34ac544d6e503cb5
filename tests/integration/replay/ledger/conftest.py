"""The sinks over a ledger, and rebuilds of it in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.replay.ledger.rebuild import LedgerRebuild
from izin.runtime.settings import LedgerSettings
from tests.integration.sinks.conftest import (  # noqa: F401  # fixtures of the sinks
    database_url,
    harness,
    iys,
    iys_settings,
    izin,
    kafka_settings,
    ledger,
    ledger_settings,
)
from tests.integration.sinks.sink_harness import SinkHarness

Rebuilding = Callable[..., LedgerRebuild]


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    """Give where the plan is written."""
    return tmp_path / "plan.json"


@pytest.fixture
def rebuild(harness: SinkHarness, ledger_settings: LedgerSettings) -> LedgerRebuild:  # noqa: F811  # fixtures
    """Give rebuilds of the ledger of the harness, in this process."""
    return LedgerRebuild(
        ledger=harness.ledger, settings=ledger_settings, clock=harness.clock, workers=1
    )
