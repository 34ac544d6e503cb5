"""The demo on servers that are reached through TLS only, with secrets from files."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.processes import left_behind
from tests.e2e.test_demo import assert_complete, run_demo
from tests.support.secure.broker import SecureKafka
from tests.support.secure.certificates import Authority
from tests.support.secure.tls import database_with_tls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


async def test_demo_through_tls_ends_without_differences(
    tmp_path: Path, secure_kafka: SecureKafka, postgres: str, authority: Authority
) -> None:
    """Kafka speaks SASL_SSL, and PostgreSQL is verified by certificate and host; the demo starts
    neither, and both secrets come from files.
    """
    given = secure_kafka.environment()
    certificate = authority.issue("ledger")
    async with database_with_tls(postgres, certificate, authority) as url:
        for name, secret in (
            ("KAFKA_SASL_PASSWORD", given.pop("KAFKA_SASL_PASSWORD")),
            ("DATABASE_URL", url),
        ):
            file = tmp_path / name
            file.write_text(f"{secret}\n", encoding="utf-8")
            given[f"{name}_FILE"] = str(file)
        code, report, messages = await asyncio.to_thread(
            run_demo, tmp_path, "--rows", "8000", **given
        )
    assert code == 0, messages
    assert_complete(report)
    assert "KAFKA_BOOTSTRAP_SERVERS names one" in messages
    assert "DATABASE_URL names one" in messages
    assert list(left_behind(tmp_path)) == []
