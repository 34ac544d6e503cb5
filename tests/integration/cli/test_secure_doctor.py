"""The doctor on servers that are reached through TLS only."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest

from izin.cli.doctor import checks
from izin.kafka import clients
from tests.integration.cli.conftest import Izin
from tests.integration.sinks.sink_harness import set_environment
from tests.support.secure import PASSWORD, Authority, SecureKafka, database_with_tls

pytestmark = [pytest.mark.broker, pytest.mark.database]

WRONG = "obviously-fake-and-wrong"


@pytest.fixture
async def secured(
    secure_kafka: SecureKafka,
    empty_database: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[str]:
    """Put the servers into the environment; yield the URL of the ledger."""
    monkeypatch.setattr(clients, "TIMEOUT", 10.0)
    monkeypatch.setattr(checks, "_TIMEOUT", 5.0)
    async with database_with_tls(empty_database, authority.issue("ledger"), authority) as url:
        settings = {"IZIN_TOPIC_PREFIX": f"t{uuid4().hex[:8]}-", "IZIN_PARTITIONS": "1"}
        set_environment(monkeypatch, secure_kafka.environment() | settings | {"DATABASE_URL": url})
        yield url


async def found(izin: Izin, *options: str) -> tuple[Mapping[str, Mapping[str, str]], str]:
    """Run the doctor beside the loop, in which the proxy is; return the last finding of each
    check, and all that it printed.
    """
    words = ("doctor", "--output", "json", "--no-running", *options)
    shown = await asyncio.to_thread(izin, *words)
    return {one["check"]: one for one in json.loads(shown.stdout)}, shown.output


@pytest.mark.usefixtures("secured")
async def test_doctor_completes_an_installation_through_tls(
    izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection that it opens has what the settings say, and production takes them."""
    findings, _ = await found(izin, "--fix")
    for check in ("broker", "topics", "database", "migrations"):
        assert findings[check]["state"] == "ok", findings[check]
    assert findings["acls"]["state"] == "wrong"
    assert "authorizer.class.name" in findings["acls"]["what"]
    monkeypatch.setenv("IZIN_PRODUCTION", "true")
    findings, _ = await found(izin)
    assert findings["broker"]["state"] == findings["database"]["state"] == "ok"
    assert "in production" in findings["topics"]["what"]


async def test_doctor_names_the_settings_of_refused_logins(
    izin: Izin, secured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the servers' own words, and no password."""
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", WRONG)
    head, _, tail = secured.partition("@")
    monkeypatch.setenv("DATABASE_URL", f"{head}-{WRONG}@{tail}")
    findings, printed = await found(izin)
    assert findings["broker"]["state"] == findings["database"]["state"] == "wrong"
    assert "KAFKA_SASL_PASSWORD" in findings["broker"]["what"]
    assert "password authentication failed" in findings["database"]["what"]
    assert WRONG not in printed
    assert PASSWORD not in printed


async def test_doctor_names_the_settings_of_refused_certificates(
    izin: Izin, secured: str, monkeypatch: pytest.MonkeyPatch, stranger: Authority
) -> None:
    """An authority that issued neither."""
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(stranger.file))
    head, _, _ = secured.partition("&sslrootcert=")
    monkeypatch.setenv("DATABASE_URL", f"{head}&sslrootcert={stranger.file}")
    findings, _ = await found(izin)
    assert "KAFKA_SSL_CA_FILE" in findings["broker"]["what"]
    assert "sslrootcert" in findings["database"]["what"]
