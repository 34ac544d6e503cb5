"""Servers that are not started, because the environment says otherwise.

A server of the caller's own that gives no database is an error with its words.
"""

from pathlib import Path

import pytest

from izin.local import LocalError, LocalServers, ensure_database

SECRET = "obviously-fake"


def test_protocol_of_brokers_that_are_not_named_is_refused(tmp_path: Path) -> None:
    """Our processes would speak it to the broker that is started here, which does not."""
    servers = LocalServers(tmp_path, environ={"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
    with pytest.raises(LocalError, match="KAFKA_SECURITY_PROTOCOL=SASL_SSL") as refused:
        servers.start()
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "protocol", [{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, {"KAFKA_SECURITY_PROTOCOL": ""}, {}]
)
def test_protocol_of_named_brokers_is_theirs(tmp_path: Path, protocol: dict[str, str]) -> None:
    """Nothing is started, and nothing refused."""
    named = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093", "DATABASE_URL": "postgresql:///x"}
    with LocalServers(tmp_path, environ={**named, **protocol}) as servers:
        assert servers.environment() == named


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin", "port 1 failed"),
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin?sslmode=verify-full", "sslrootcert"),
        (f"izin {SECRET}", "is not a PostgreSQL URL"),
    ],
)
def test_unusable_server_is_named_without_the_password(url: str, why: str) -> None:
    """Who starts a stack on it has to correct DATABASE_URL."""
    with pytest.raises(LocalError, match="DATABASE_URL") as refused:
        ensure_database(url, "izin_run")
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)
