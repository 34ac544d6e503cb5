"""The demo on servers that are reached through TLS only, and refuse it; in ``test_rights`` they do
not.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import izin, left_behind
from tests.support.secure import PASSWORD, Authority, SecureKafka, database_with_tls

pytestmark = pytest.mark.e2e

WRONG = "obviously-fake-and-wrong"


def run_demo(
    folder: Path, *options: str, module: str = "izin.cli", **environment: str
) -> tuple[int, dict[str, Any], str]:
    """Run ``izin demo`` on servers of its own, or those of ``environment``; return exit code,
    report and messages.
    """
    # In the environment, for our workers inherit it: so those that are left behind are found.
    given = {**environment, "IZIN_STATE_DIR": str(folder / "state")}
    export = ("--out", str(folder / "export.csv"))
    with izin("demo", "--output", "json", *export, *options, module=module, **given) as process:
        printed, messages = process.communicate()
    return process.returncode, json.loads(printed) if printed else {}, messages


def assert_complete(report: dict[str, Any]) -> None:
    """Assert that topics, ledger and İYS agree, and every citizen's opt-out was received."""
    assert (report["differences"], report["unexplained_differences"]) == ([], 0)
    assert report["citizens_received"] == report["citizens"] == 1000
    assert report["push"]["measured"] + report["pull"]["measured"] == 1000
    ended = ("registered", "expired", "local_only", "parked", "refused_by_iys")
    assert sum(report[name] for name in ended) == report["keys"]
    # The demo compares the import with what was written; faults are in differences.
    assert 0 < report["rows_refused"] <= sum(report["refusal_reasons"].values())


async def test_demo_on_servers_that_refuse_it_names_the_settings(
    tmp_path: Path, secure_kafka: SecureKafka, postgres: str, authority: Authority
) -> None:
    """One message each, exit code 4, no secret, and nothing left running."""
    stranger = Authority(tmp_path / "stranger", "stranger")
    certificate = authority.issue("ledger")
    given = secure_kafka.environment()
    async with database_with_tls(postgres, certificate, authority) as url:
        wrong = {**given, "DATABASE_URL": url, "KAFKA_SASL_PASSWORD": WRONG}
        code, _, broker = await asyncio.to_thread(run_demo, tmp_path, **wrong)
        assert code == 4, broker
    async with database_with_tls(postgres, certificate, stranger) as url:
        right = {**given, "DATABASE_URL": url}
        code, _, ledger = await asyncio.to_thread(run_demo, tmp_path, **right)
        assert code == 4, ledger
    assert "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in broker
    assert "sslrootcert" in ledger
    assert not [one for one in ("Traceback", WRONG, PASSWORD) if one in broker + ledger]
    assert list(left_behind(tmp_path)) == []
