"""An installation with a real broker and a ledger, whose order state is rebuilt."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.integration.replay.rebuild_harness import RebuildHarness


@pytest.fixture
def harness(make_settings: Callable[[int], KafkaSettings], tmp_path: Path) -> RebuildHarness:
    """Return topics of one partition, without a ledger."""
    return RebuildHarness(make_settings(1), tmp_path, None)


@pytest.fixture
def with_ledger(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path, ledger_url: str
) -> RebuildHarness:
    """Return topics of one partition, with an empty ledger."""
    ledger = LedgerSettings(database_url=SecretStr(ledger_url))
    return RebuildHarness(make_settings(1), tmp_path, ledger)
