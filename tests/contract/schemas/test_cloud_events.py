"""The CloudEvents headers of a record."""

from datetime import UTC, datetime, timedelta, timezone

from izin.schemas.records import TIME, attributes, headers

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TURKEY = timezone(timedelta(hours=3))


def test_headers_are_the_attributes_encoded() -> None:
    """Two notations of one instant are equal, and each record has its own."""
    for at in (NOON, NOON.astimezone(TURKEY), NOON):
        named = {"record": "ConsentEvent", "event_id": "e-1", "source": "/crm", "at": at}
        found = dict(headers(**named))
        assert found == {name: value.encode() for name, value in attributes(**named).items()}
        assert found[TIME] == at.isoformat().encode()
