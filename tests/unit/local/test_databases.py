"""A server of the caller's own that gives no database is an error with its words."""

import pytest

from izin.local import LocalError, ensure_database

SECRET = "obviously-fake"


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
