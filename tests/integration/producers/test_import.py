"""The made-up CRM export, imported for real: every count is the generator's truth."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import Import, import_file
from izin.producers.publishing.publisher import BULK_LINGER, KafkaPublisher, KafkaRecord
from izin.runtime.kafka import access_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.stack.crm_export import ExportSpec, ExportTruth, write

pytestmark = pytest.mark.broker

NOW = "2026-03-02T12:00:00+03:00"
ACTIVE, LOADING = 100001, 100002
ROWS = 2000


def generated(path: Path, *, seed: int = 7) -> ExportTruth:
    """Write an export and return what is true of it."""
    now = datetime.fromisoformat(NOW)
    return write(path, ExportSpec(rows=ROWS, seed=seed, now=now, active=ACTIVE, loading=LOADING))


@pytest.fixture
def directory() -> BrandDirectory:
    return BrandDirectory(
        RegisteredBrand(brand_code=code, iys_code=200001, customer_id="acme", name="Example")
        for code in (ACTIVE, LOADING)
    )


def test_generated_export_is_the_same_for_the_same_seed(tmp_path: Path):
    """And another for another."""
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    assert generated(one) == generated(same)
    generated(other, seed=8)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


def test_import_gives_the_counts_of_the_generator(
    tmp_path: Path,
    settings: KafkaSettings,
    directory: BrandDirectory,
    written: Callable[[], Sequence[KafkaRecord]],
):
    """Twice: the second import has the same ids; and Kafka has the expected consents."""
    path = tmp_path / "crm-export.csv"
    truth = generated(path)
    clock = lambda: datetime.fromisoformat(NOW).astimezone(UTC)  # noqa: E731  # stands still
    codec = Codec()
    with KafkaPublisher(access_of(settings), codec, clock=clock, linger=BULK_LINGER) as publisher:
        reports = [
            import_file(path, publisher, directory, clock=clock, how=Import()) for _ in range(2)
        ]
    for report in reports:
        assert report.rows == truth.rows == ROWS
        assert report.published == truth.published
        assert report.refused == truth.refused
        assert report.not_registrable == truth.not_registrable
    frames = written()
    assert len(frames) == 2 * truth.published
    events = {
        event["event_id"]: (frame.key.decode(), event)
        for frame in frames
        for event in (codec.decode("ConsentEvent", frame.value),)
    }
    assert len(events) == truth.published
    assert _final(list(events.values())) == truth.final


def _final(events: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return how many keys end as what, by the plainest reading of the law."""
    latest: dict[str, tuple[datetime, bool]] = {}
    for key, event in events:
        order = (event["consent_date"] or event["received_at"], event["status"] == "RET")
        latest[key] = max(latest.get(key, order), order)
    final: dict[str, dict[str, int]] = {}
    for key, (_, is_ret) in latest.items():
        counts = final.setdefault(key.partition("/")[0], {"ONAY": 0, "RET": 0})
        counts["RET" if is_ret else "ONAY"] += 1
    return final
