"""Servers that are not started, because the environment says otherwise."""

from pathlib import Path

import pytest

from izin.local import LocalError, LocalServers


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
